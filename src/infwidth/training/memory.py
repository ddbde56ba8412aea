"""Running out of memory, in a sentence."""

import contextlib
import re
from collections.abc import Iterator

import torch

from infwidth.errors import ConfigError

DECIDES_NUMBERS = False

SIGNS = (
    *("DefaultCPUAllocator: can't allocate memory", "not enough memory", "Storage size calculation overflowed"),
    *("CUDA error: out of memory", "_STATUS_ALLOC_FAILED"),  # of the driver, and of cuBLAS and cuSOLVER
)
"""What PyTorch says of memory that does not suffice, in an error of no type of its own."""


@contextlib.contextmanager
def during(what: str) -> Iterator[None]:
    """ConfigError that names ``what`` was being done if the memory of the CPU or of a GPU does not suffice for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as e:  # torch.OutOfMemoryError is a RuntimeError
        if not _of_memory(e):
            raise
        raise ConfigError(
            f"{what} ran out of memory{_asked(e)}; make the model or its batches smaller, or take a device with more "
            "memory (trainer.device)."
        ) from e


def _of_memory(error: Exception) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(sign in str(error) for sign in SIGNS)


def _asked(error: Exception) -> str:
    """' (it asked for 400.0 GB)', where the error says how much."""
    text = str(error)
    if found := re.search(r"tried to allocate (\d+) bytes", text):
        return f" (it asked for {int(found[1]) / 1e9:.1f} GB at once)"
    if found := re.search(r"(?:[Tt]ried to|Unable to) allocate ([\d.]+) ?([KMGTPE]?i?B)", text):
        return f" (it asked for {found[1]} {found[2]} at once)"
    return ""

"""Checkpoints that are whole or absent, belong to one run, and cannot execute code (safetensors).

A new checkpoint is written to a temporary name and renamed; the one before it is kept. Tensors carry a CRC, so damage
anywhere in the file is noticed.
"""

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infwidth.errors import CheckpointError

LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"


def _crc(tensors: Mapping[str, Tensor]) -> int:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(
            memoryview(tensors[name].view(-1).view(torch.uint8).numpy()) if tensors[name].numel() else b"", crc
        )
    return crc


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the tensors."""
    return sum(t.numel() * t.element_size() for t in tensors.values())


def require_room(folder: Path, size: int) -> None:
    """CheckpointError with the sizes if ``size`` bytes would fill more than half of what is free on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if size > free / 2:
        raise CheckpointError(
            f"a checkpoint of {size / 1e6:.1f} MB would fill more than half of the {free / 1e6:.1f} MB free at {folder}; "
            "make room, or set trainer.checkpoint_every=0 to do without (a stopped run then starts anew)."
        )


def save(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any], run: str) -> None:
    """Write tensors and JSON-able ``info`` atomically for run id ``run``.

    Raises CheckpointError, before writing, if the file would fill more than half of what is free on the disk.
    """
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    require_room(path.parent, size_of(tensors))
    metadata = {"run": run, "crc": str(_crc(tensors)), "info": json.dumps(info)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(tensors, temporary, metadata)
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as e:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"the checkpoint {path} could not be written ({e}); make room on the disk and run the same command again to resume."
        ) from e


def load(path: Path, run: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and info. Raises CheckpointError if the file is torn, damaged or of another run than ``run``."""
    try:
        with safe_open(path, framework="pt") as f:
            metadata = f.metadata() or {}
            tensors = {name: f.get_tensor(name) for name in f.keys()}
    except (OSError, SafetensorError) as e:
        raise CheckpointError(f"{path} is torn or is no checkpoint ({e}).") from e
    if not {"run", "crc", "info"} <= metadata.keys():
        raise CheckpointError(f"{path} was not written by infwidth.")
    if run is not None and metadata["run"] != run:
        raise CheckpointError(f"{path} belongs to run {metadata['run']}, not to {run}.")
    if str(_crc(tensors)) != metadata["crc"]:
        raise CheckpointError(f"{path} is damaged: its contents do not match their checksum.")
    return tensors, json.loads(metadata["info"])


def rotate_and_save(folder: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any], run: str) -> None:
    """Save as the last checkpoint of a folder and keep the one before it."""
    if (folder / LAST).exists():
        os.replace(folder / LAST, folder / PREVIOUS)
    save(folder / LAST, tensors, info, run)


def latest(folder: Path, run: str, warn=print) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint that is whole and belongs to the run; a refused one is named through ``warn``. None without any."""
    for name in (LAST, PREVIOUS):
        if (folder / name).exists():
            try:
                return load(folder / name, run)
            except CheckpointError as e:
                warn(f"{e} It is not used; the one before it is tried.")
    return None

"""Checkpoints that are whole or refused, belong to one run, and cannot execute code (safetensors).

A file holds tensors and, as JSON in its header, what the run says of itself (``info``). One checksum covers all of it:
names, types, shapes and contents of the tensors, the run's id and the info. A new checkpoint is written to a temporary
name and renamed; the one before it is kept. A refused file is set aside, so that nothing is lost by going on without
it.
"""

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infwidth.errors import CheckpointError
from infwidth.training.files import plain, write_whole

LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"
REFUSED = "refused-{}.safetensors"

FORMAT = 2
"""To be raised when what a file holds changes."""


class Stored(Mapping[str, Tensor]):
    """Tensors of a file, on the CPU, each read from the disk when it is asked for: what nobody keeps takes no memory.

    prefix: of their names in the file, which they have not here.
    """

    def __init__(self, path: Path, names: Iterable[str], prefix: str = ""):
        self.path, self.prefix = path, prefix
        self.names = dict.fromkeys(name.removeprefix(prefix) for name in names if name.startswith(prefix))

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(name)
        # A file that stayed open would keep in memory whatever has been read of it.
        with safe_open(self.path, framework="pt") as f:
            return f.get_tensor(self.prefix + name)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def part(self, prefix: str) -> "Stored":
        """Those whose names begin with ``prefix``, without it."""
        return Stored(self.path, (self.prefix + name for name in self.names), self.prefix + prefix)


@dataclass(frozen=True)
class Checkpoint:
    """tensors: read from the disk as they are used; info: what was saved with them."""

    tensors: Stored
    info: dict[str, Any]


def _checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    crc = zlib.crc32(about.encode())
    for name in sorted(tensors):
        t = tensors[name]
        crc = zlib.crc32(f"{name} {t.dtype} {tuple(t.shape)}".encode(), crc)
        if t.numel():
            crc = zlib.crc32(memoryview(t.view(-1).view(torch.uint8).numpy()), crc)
    return str(crc)


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the tensors."""
    return sum(t.numel() * t.element_size() for t in tensors.values())


def require_room(folder: Path, size: int) -> None:
    """CheckpointError with the sizes if ``size`` bytes would fill more than half of what is free on a folder's disk."""
    free = shutil.disk_usage(folder).free
    if size > free / 2:
        raise CheckpointError(
            f"a checkpoint of {size / 1e6:.1f} MB would fill more than half of the {free / 1e6:.1f} MB free at "
            f"{folder}; make room, or set trainer.checkpoint_every=0 to do without (a stopped run then starts anew)."
        )


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, copied where several lie in the same memory, which the format of the file does not have."""
    found, taken = {}, set()
    for name, t in tensors.items():
        place = t.untyped_storage().data_ptr()
        found[name] = t.clone() if place in taken else t
        taken.add(place)
    return found


def save(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any], run: str) -> None:
    """Write tensors and JSON-able ``info`` atomically for run id ``run``.

    Raises CheckpointError, before writing, if the file would fill more than half of what is free on the disk.
    """
    tensors = _apart({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    require_room(path.parent, size_of(tensors))
    about = json.dumps(plain({"format": FORMAT, "run": run, "info": info}), allow_nan=False)
    metadata = {"infwidth": about, "checksum": _checksum(tensors, about)}
    with _writing(path):
        write_whole(path, lambda temporary: save_file(tensors, temporary, metadata))


def load(path: Path, run: str | None = None) -> Checkpoint:
    """A checkpoint. CheckpointError that says why if the file is torn, damaged or of another run than ``run``."""
    try:
        with safe_open(path, framework="pt") as f:
            metadata = f.metadata() or {}
            tensors = Stored(path, f.keys())
    except (OSError, SafetensorError) as e:
        raise CheckpointError(f"{path} is torn or is no checkpoint ({e})") from e
    about = metadata.get("infwidth")
    if about is None or "checksum" not in metadata:
        raise CheckpointError(f"{path} was not written by this version of infwidth")
    if _checksum(tensors, about) != metadata["checksum"]:
        raise CheckpointError(f"{path} is damaged, its contents do not match their checksum")
    try:
        found = json.loads(about)
        version, owner, info = (found[key] for key in ("format", "run", "info"))
    except (ValueError, KeyError, TypeError) as e:
        raise CheckpointError(f"{path} does not say what it holds ({e!r})") from e
    if version != FORMAT:
        raise CheckpointError(f"{path} was not written by this version of infwidth")
    if run is not None and owner != run:
        raise CheckpointError(f"{path} belongs to run {owner}, not to {run}")
    if not isinstance(info, dict):
        raise CheckpointError(f"{path} does not say what it holds, its info is {info!r}")
    return Checkpoint(tensors, info)


def rotate_and_save(folder: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any], run: str) -> None:
    """Save as the last checkpoint of a folder and keep the one before it."""
    if (folder / LAST).exists():
        with _writing(folder / PREVIOUS):
            os.replace(folder / LAST, folder / PREVIOUS)
    save(folder / LAST, tensors, info, run)


def set_aside(path: Path) -> Path:
    """Give a refused file, or whatever has its name, another name in its folder; returns it."""
    number = 1
    while (aside := path.with_name(REFUSED.format(number))).exists():
        number += 1
    with _writing(aside):
        os.replace(path, aside)
    return aside


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as e:
        raise CheckpointError(
            f"the checkpoint {path} could not be written ({e}); make room, or make its folder writable, and run the "
            "same command again."
        ) from e

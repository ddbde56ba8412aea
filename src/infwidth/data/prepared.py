"""Prepared datasets: memory-mapped arrays beside a manifest, written atomically, read without executing anything."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infwidth.errors import DataError

MANIFEST = "manifest.json"
REQUIRED = {"name", "kind", "label", "source", "checksum", "shapes", "dtypes"}


@dataclass(frozen=True)
class Prepared:
    """Arrays by name (read-only memory maps) and the manifest: name, label, source, checksum, shapes and what the maker added."""

    arrays: Mapping[str, np.ndarray]
    manifest: Mapping[str, Any]

    @property
    def checksum(self) -> str:
        """sha256 of the arrays' contents: equal for equal data, wherever it came from."""
        return self.manifest["checksum"]


def content_checksum(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(memoryview(array).cast("B"))
    return digest.hexdigest()


def temporary_folder(folder: Path) -> Path:
    """A new folder beside ``folder``; DataError if none can be made there."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as e:
        raise DataError(
            f"prepared data cannot be written to {folder.parent} ({e.strerror}); set data.root to a folder with room."
        ) from e


def write(folder: Path, arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> Prepared:
    """Write arrays and manifest to a temporary folder and rename it: ``folder`` is whole or absent, never half-written."""
    temporary = temporary_folder(folder)
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        full = {
            **manifest,
            "checksum": content_checksum(arrays),
            "shapes": {name: list(a.shape) for name, a in arrays.items()},
            "dtypes": {name: a.dtype.str for name, a in arrays.items()},
        }
        (temporary / MANIFEST).write_text(json.dumps(full, indent=1))
        temporary.chmod(0o755)  # a shared data folder is for all its users
        os.rename(temporary, folder)
    except OSError as e:
        if folder.exists():  # another process was faster: its folder is as good
            return read(folder)
        raise DataError(
            f"prepared data cannot be written to {folder} ({e.strerror}); set data.root to a folder with room."
        ) from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return read(folder)


def read(folder: Path) -> Prepared:
    """Open a prepared folder. Raises DataError if a file is missing or is not what the manifest says."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if missing := REQUIRED - manifest.keys():
            raise ValueError(f"its manifest lacks {', '.join(sorted(missing))}")
        arrays = {}
        for name, shape in manifest["shapes"].items():
            array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            if list(array.shape) != shape or array.dtype.str != manifest["dtypes"][name]:
                raise ValueError(f"{name}.npy is not what the manifest says")
            arrays[name] = array
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError) as e:
        raise DataError(
            f"the prepared data in {folder} is damaged ({e}); delete that folder and run the same command again."
        ) from e
    return Prepared(arrays, manifest)

"""Prepared datasets: memory-mapped arrays beside a manifest, written atomically, verified whole when they are opened.

Nothing that lies in a prepared folder can execute: arrays are read as bare .npy files, the manifest as JSON.
"""

import errno
import hashlib
import json
import mmap
import os
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infwidth.data.kinds import Kind, Mismatch
from infwidth.data.workplace import workplace
from infwidth.errors import DataError

DECIDES_NUMBERS = False

MANIFEST = "manifest.json"

ENTRIES = {
    "name": str,
    "kind": str,
    "label": str,
    "source": (str, dict),
    "checksum": str,
    "shapes": dict,
    "dtypes": dict,
}
"""What every manifest has; a kind of data asks for more."""

DAMAGE = (
    *(Mismatch, FileNotFoundError, NotADirectoryError, IsADirectoryError),
    # From JSON, and from the header of an array, which NumPy parses as Python's literals.
    *(ValueError, TypeError, OverflowError, EOFError, SyntaxError, tokenize.TokenError, RecursionError),
)
"""What opening a folder raises where its content is wrong, and not the disk, the memory or a permission."""

_VERIFIED: set[tuple] = set()
"""Identities of the files that this process has read whole and found right."""


@dataclass(frozen=True)
class Prepared:
    """Arrays by name (read-only memory maps) and the manifest: name, label, source, checksum, shapes and what the
    maker added."""

    arrays: Mapping[str, np.ndarray]
    manifest: Mapping[str, Any]

    @property
    def checksum(self) -> str:
        """sha256 of the arrays' contents: equal for equal data, wherever it came from."""
        return self.manifest["checksum"]

    def give_back(self) -> None:
        """Give back the memory of what has been read of the files; what is asked for again is read again."""
        for array in self.arrays.values():
            if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                array.base.madvise(mmap.MADV_DONTNEED)


def content_checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256, in hex, of the arrays' names, dtypes, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        if array.size:  # an empty array has no memory to view
            digest.update(memoryview(array).cast("B"))
    return digest.hexdigest()


def write(folder: Path, arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any], kind: Kind) -> Prepared:
    """Write arrays and manifest beside ``folder`` and rename: ``folder`` is whole or absent, never half-written.

    Raises DataError if arrays and manifest are not data of this kind, or cannot be written.
    """
    description = json.dumps(
        {
            **manifest,
            "kind": kind.name,
            "checksum": content_checksum(arrays),
            "shapes": {name: list(a.shape) for name, a in arrays.items()},
            "dtypes": {name: a.dtype.str for name, a in arrays.items()},
        },
        indent=1,
    )
    try:
        _check_manifest(json.loads(description))
        kind.check(arrays, json.loads(description))
    except Mismatch as e:
        raise DataError(
            f"what was made for data.name={manifest['name']} is not data of the kind {kind.name!r} ({e}); correct the "
            "function that makes it."
        ) from e
    with workplace(folder) as temporary:
        try:
            for name, array in arrays.items():
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            (temporary / MANIFEST).write_text(description, encoding="utf-8")
            temporary.chmod(0o755)  # a shared data folder is for all its users
            os.rename(temporary, folder)
        except OSError as e:
            if not folder.exists():  # otherwise another process was faster: its folder is as good
                raise DataError(
                    f"prepared data cannot be written to {folder} ({e.strerror or e}); set data.root to a folder with "
                    "room."
                ) from e
    return read(folder, kind)


def read(folder: Path, kind: Kind) -> Prepared:
    """Open a prepared folder. DataError if a file is missing, or anything in it is not what manifest and kind say.

    Contents are read whole and compared with the manifest's checksum, once for each state of the files in a process.
    """
    try:
        return _read(folder, kind)
    except DAMAGE as e:
        raise DataError(
            f"the prepared data in {folder} is damaged ({e}); delete that folder and run the same command again."
        ) from e
    except (OSError, MemoryError) as e:
        if isinstance(e, MemoryError) or e.errno == errno.ENOMEM:
            raise DataError(
                f"there is not enough memory to open the prepared data in {folder}, which need not be damaged; lower "
                "trainer.threads, or close other programs, and run the same command again."
            ) from e
        raise DataError(f"the prepared data in {folder} cannot be read ({e}); make its files readable.") from e


def _read(folder: Path, kind: Kind) -> Prepared:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    _check_manifest(manifest)
    if manifest["kind"] != kind.name:
        raise Mismatch(f"its manifest says that it is {manifest['kind']}, not {kind.name}")
    # The identity is taken before the contents are read: what changes meanwhile has another one the next time.
    identity = _identity([folder / MANIFEST, *(folder / f"{name}.npy" for name in manifest["shapes"])])
    arrays = {name: _mapped(folder, name, manifest) for name in manifest["shapes"]}
    if identity not in _VERIFIED:
        kind.check(arrays, manifest)
        found = content_checksum(arrays)
        if found != manifest["checksum"]:
            raise Mismatch(f"its arrays have the checksum {found:.12}, its manifest says {manifest['checksum']:.12}")
        _VERIFIED.add(identity)
    found = Prepared(arrays, manifest)
    found.give_back()
    return found


def _check_manifest(manifest: Any) -> None:
    """Raise Mismatch unless the entries that every manifest has are there and of the right type."""
    if not isinstance(manifest, dict):
        raise Mismatch("its manifest is not a group of entries")
    if missing := ENTRIES.keys() - manifest.keys():
        raise Mismatch(f"its manifest lacks {', '.join(sorted(missing))}")
    for entry, types in ENTRIES.items():
        if not isinstance(manifest[entry], types):
            raise Mismatch(f"{entry} in its manifest is {manifest[entry]!r:.60}")
    shapes, dtypes = manifest["shapes"], manifest["dtypes"]
    for name, shape in shapes.items():
        if not re.fullmatch(r"\w+", name):
            raise Mismatch(f"its manifest names an array {name!r}")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise Mismatch(f"the shape of {name!r} in its manifest is {shape!r:.60}")
        if not isinstance(dtypes.get(name), str):
            raise Mismatch(f"the dtype of {name!r} in its manifest is {dtypes.get(name)!r:.60}")


def _identity(files: list[Path]) -> tuple:
    """What tells one state of these files from another, without reading them."""
    states = [(file, file.stat()) for file in files]
    return tuple((str(f.absolute()), s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for f, s in states)


def _mapped(folder: Path, name: str, manifest: Mapping[str, Any]) -> np.ndarray:
    """The array of that name as a read-only memory map."""
    array = np.lib.format.open_memmap(folder / f"{name}.npy", mode="r")
    if list(array.shape) != manifest["shapes"][name] or array.dtype.str != manifest["dtypes"][name]:
        raise Mismatch(f"{name}.npy is not what the manifest says")
    return array

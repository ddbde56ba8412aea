"""Small datasets, prepared folders that were tampered with, and images that are none."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from infwidth.data.catalog import obtain
from infwidth.data.prepared import content_checksum

GLYPHS = {
    "name": "glyphs",
    "train_classes": 5,
    "validation_classes": 3,
    "test_classes": 2,
    "drawers": 4,
    "jitter": 0.1,
    "generator_seed": 0,
}
DIGITS = {"name": "digits", "test_images": 400}
PLANTED = {
    "name": "planted_corpus",
    "running_words": 5000,
    "pairs": 5,
    "topic_words": 3,
    "role_words": 4,
    "common_words": 10,
    "sentence": 8,
    "questions": 7,
}


def folder_of(root: Path) -> Path:
    """The one folder of prepared data below a data folder."""
    (folder,) = (root / "prepared").iterdir()
    return folder


def forged(data: dict[str, Any], root: Path, change: Callable[[dict[str, np.ndarray], dict[str, Any]], None]) -> Path:
    """Prepare data, let ``change`` edit copies of its arrays and its manifest, and write them with a right checksum."""
    found = obtain({**data, "root": str(root)})
    arrays, manifest = {name: np.array(a) for name, a in found.arrays.items()}, dict(found.manifest)
    change(arrays, manifest)
    folder = folder_of(root)
    for old in folder.glob("*.npy"):
        old.unlink()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    manifest |= {
        "checksum": content_checksum(arrays),
        "shapes": {name: list(a.shape) for name, a in arrays.items()},
        "dtypes": {name: a.dtype.str for name, a in arrays.items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def empty_png(width: int, height: int) -> bytes:
    """A PNG file whose header promises so many pixels, and that has none of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)

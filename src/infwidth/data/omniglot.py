"""Omniglot at 28 x 28 with rotations as classes, in the Vinyals split (TP4 section 9).

Each 105 x 105 drawing is rotated by 0, 90, 180 and 270 degrees, then resized with an antialiased bilinear filter; strokes
are 255 on background 0. Rotations are classes of their own in training and validation and are left out of the test
split: 4112, 688 and 423 classes of 20 images.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from infwidth.data.archives import Download, checksum, zip_members
from infwidth.errors import DataError
from infwidth.progress import bar

SIZE, DRAWERS, ROTATIONS = 28, 20, 4
ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
PARTS = {
    "images_background": Download(ADDRESS + "images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
    "images_evaluation": Download(ADDRESS + "images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
}
CHARACTERS = {"images_background": 964, "images_evaluation": 659}

DRAWING = r"images_\w+/[^/]+/character\d+/\d+_\d+\.png"
"""What counts in an archive; systems add files of their own, such as __MACOSX/."""

Character = tuple[str, str, int]  # part, alphabet, number


def vinyals_split() -> dict[str, list[Character]]:
    """Characters of the 'train', 'validation' and 'test' split."""
    raw = json.loads(resources.files("infwidth.data").joinpath("vinyals_split.json").read_text())
    return {
        {"val": "validation"}.get(split, split): [
            (part, alphabet, number)
            for part, alphabets in sorted(parts.items())
            for alphabet, numbers in sorted(alphabets.items())
            for number in numbers
        ]
        for split, parts in raw.items()
    }


def find(folder: Path) -> dict[str, Path] | None:
    """Where each part lies in a folder (or its subfolder omniglot): an unpacked tree or a zip. None unless both are there."""
    for place in (folder, folder / "omniglot", folder / "omniglot-py"):
        found = {}
        for part in PARTS:
            tree, archive = place / part, place / f"{part}.zip"
            if tree.is_dir():
                found[part] = tree
            elif archive.is_file():
                found[part] = archive
        if len(found) == len(PARTS):
            return found
    return None


def download(folder: Path) -> dict[str, Path]:
    return {part: source.fetch(folder / "omniglot") for part, source in PARTS.items()}


def _drawings(part: str, path: Path) -> Iterator[tuple[str, bytes]]:
    """('<alphabet>/characterNN/<file>.png', content) of a part, sorted within a tree, in archive order within a zip."""
    if path.is_dir():
        for file in sorted(path.glob("*/character*/*.png")):
            yield file.relative_to(path).as_posix(), file.read_bytes()
    else:
        for name, content in zip_members(path):
            if re.fullmatch(DRAWING, name):
                yield name.removeprefix(f"{part}/"), content


def rotated_and_resized(drawing: Image.Image) -> np.ndarray:
    """(4, 28, 28) uint8 of a black-on-white drawing: each rotation at full size, then resized; strokes 255."""
    ink = Image.eval(drawing.convert("L"), lambda p: 255 - p)
    turned = [ink] + [
        ink.transpose(t) for t in (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    ]
    return np.stack([np.asarray(t.resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for t in turned])


def prepare(sources: dict[str, Path], progress: Callable = bar) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays 'train', 'validation', 'test' (classes, 20, 784) uint8 and the manifest.

    Classes are ordered by character, rotation last. Raises DataError for a damaged archive or a missing drawing.
    """
    images: dict[Character, dict[int, np.ndarray]] = {}
    with progress(total=sum(CHARACTERS.values()) * DRAWERS, desc="preparing Omniglot", unit="drawing") as done:
        for part, path in sources.items():
            for name, content in _drawings(part, path):
                alphabet, folder, file = name.split("/")
                drawer = int(Path(file).stem.split("_")[-1])
                try:
                    drawing = Image.open(io.BytesIO(content))
                    images.setdefault((part, alphabet, int(folder.removeprefix("character"))), {})[drawer] = (
                        rotated_and_resized(drawing)
                    )
                except OSError as e:
                    raise DataError(f"{path}: {name} is not a readable image ({e}); fetch the data again.") from e
                done.update()
    arrays, names = {}, {}
    for split, characters in vinyals_split().items():
        for part, alphabet, number in characters:
            drawn = images.get((part, alphabet, number), {})
            if sorted(drawn) != list(range(1, DRAWERS + 1)):
                raise DataError(
                    f"{sources[part]} has {len(drawn)} of the {DRAWERS} drawings of {alphabet}/character{number:02d}; the data is incomplete, fetch it again."
                )
        every = np.stack([np.stack([images[c][i] for i in range(1, DRAWERS + 1)], axis=1) for c in characters])
        kept = every[:, :1] if split == "test" else every
        arrays[split] = kept.reshape(-1, DRAWERS, SIZE * SIZE)
        rotations = (0,) if split == "test" else (0, 90, 180, 270)
        names[split] = [
            f"{alphabet} {number}" + (f" at {r}°" if r else "") for _, alphabet, number in characters for r in rotations
        ]
    manifest = {
        "label": "Omniglot",
        "source": {
            part: {"path": str(p), **({"sha256": checksum(p, "sha256")} if p.is_file() else {})}
            for part, p in sources.items()
        },
        "test_class_names": names["test"],
    }
    return arrays, manifest

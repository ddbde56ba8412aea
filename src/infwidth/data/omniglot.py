"""Omniglot at 28 x 28 with rotations as classes, in the Vinyals split (TP4 section 9).

Each 105 x 105 drawing is rotated by 0, 90, 180 and 270 degrees, then resized with an antialiased bilinear filter;
strokes are 255 on background 0. Rotations are classes of their own in training and validation and are left out of the
test split: 4112, 688 and 423 classes of 20 images.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from infwidth.data.archives import Download, checksum, zip_members
from infwidth.data.dataset import Dataset
from infwidth.data.kinds import FEW_SHOT_IMAGES
from infwidth.data.pictures import decoded
from infwidth.errors import DataError
from infwidth.progress import bar

SIZE, DRAWN_SIZE, DRAWERS = 28, 105, 20
ROTATIONS = (0, 90, 180, 270)
ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
PARTS = {
    "images_background": Download(ADDRESS + "images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
    "images_evaluation": Download(ADDRESS + "images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
}
CHARACTERS = {"images_background": 964, "images_evaluation": 659}

DRAWING = re.compile(r"(images_\w+)/([^/]+)/character(\d+)/\d+_(\d+)\.png")
"""Part, alphabet, character and drawer: what counts in a source; systems add files of their own, such as __MACOSX/."""

Character = tuple[str, str, int]  # part, alphabet, number


@dataclass(frozen=True, kw_only=True)
class OmniglotConfig:
    """conf/data/omniglot.yaml"""

    name: Literal["omniglot"] = "omniglot"


def vinyals_split() -> dict[str, list[Character]]:
    """Characters of the 'train', 'validation' and 'test' split."""
    raw = json.loads(resources.files("infwidth.data").joinpath("vinyals_split.json").read_text())
    return {"train": _characters(raw["train"]), "validation": _characters(raw["val"]), "test": _characters(raw["test"])}


def _characters(parts: dict[str, dict[str, list[int]]]) -> list[Character]:
    return [
        (part, alphabet, number)
        for part, alphabets in sorted(parts.items())
        for alphabet, numbers in sorted(alphabets.items())
        for number in numbers
    ]


def find(folder: Path) -> dict[str, Path] | None:
    """Where each part lies in a folder or its subfolder: an unpacked tree or a zip. None unless both are there."""
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


def _files(part: str, path: Path) -> Iterator[tuple[str, bytes]]:
    """('<part>/<alphabet>/characterNN/<file>.png', content) of a tree or a zip."""
    if path.is_dir():
        for file in sorted(path.glob("*/character*/*.png")):
            yield f"{part}/{file.relative_to(path).as_posix()}", file.read_bytes()
    else:
        yield from zip_members(path)


def rotated_and_resized(drawing: Image.Image) -> np.ndarray:
    """(4, 28, 28) uint8 of a grey black-on-white drawing: each rotation at full size, then resized; strokes 255."""
    ink = Image.eval(drawing, lambda p: 255 - p)
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    turned = [ink, *(ink.transpose(turn) for turn in turns)]
    return np.stack([np.asarray(t.resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for t in turned])


def prepare(sources: dict[str, Path], progress: Callable = bar) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays 'train', 'validation', 'test' (classes, 20, 784) uint8 and the manifest.

    Classes are ordered by character, rotation last. Raises DataError for a damaged archive or a missing drawing.
    """
    images = _images(sources, progress)
    arrays, names = {}, {}
    for split, characters in vinyals_split().items():
        rotations = ROTATIONS[:1] if split == "test" else ROTATIONS
        for character in characters:
            _require_every_drawer(images.get(character, {}), character, sources)
        of_characters = np.stack([_in_order(images[c]) for c in characters])[:, : len(rotations)]
        arrays[split] = of_characters.reshape(-1, DRAWERS, SIZE * SIZE)
        names[split] = [_class_name(character, rotation) for character in characters for rotation in rotations]
    return arrays, {
        "label": "Omniglot",
        "source": {part: _description(path) for part, path in sources.items()},
        "test_class_names": names["test"],
    }


def _images(sources: dict[str, Path], progress: Callable) -> dict[Character, dict[int, np.ndarray]]:
    """Of each character each drawer's image in four rotations, (4, 28, 28) uint8."""
    images: dict[Character, dict[int, np.ndarray]] = {}
    with progress(total=sum(CHARACTERS.values()) * DRAWERS, desc="preparing Omniglot", unit="drawing") as done:
        for part, path in sources.items():
            for name, content in _files(part, path):
                drawing = DRAWING.fullmatch(name)
                if drawing and drawing[1] == part:
                    alphabet, number, drawer = drawing.groups()[1:]
                    image = decoded(content, "L", DRAWN_SIZE, f"{path}: {name}")
                    images.setdefault((part, alphabet, int(number)), {})[int(drawer)] = rotated_and_resized(image)
                    done.update()
    return images


def _require_every_drawer(drawn: dict[int, np.ndarray], character: Character, sources: dict[str, Path]) -> None:
    part, alphabet, number = character
    if sorted(drawn) != list(range(1, DRAWERS + 1)):
        raise DataError(
            f"{sources[part]} has {len(drawn)} of the {DRAWERS} drawings of {alphabet}/character{number:02d}; the data "
            "is incomplete, fetch it again."
        )


def _in_order(drawn: dict[int, np.ndarray]) -> np.ndarray:
    """(4, 20, 28, 28): rotations, drawers, image."""
    return np.stack([drawn[drawer] for drawer in range(1, DRAWERS + 1)], axis=1)


def _class_name(character: Character, rotation: int) -> str:
    _, alphabet, number = character
    return f"{alphabet} {number} at {rotation}°" if rotation else f"{alphabet} {number}"


def _description(path: Path) -> dict[str, str]:
    return {"path": str(path), **({"sha256": checksum(path, "sha256")} if path.is_file() else {})}


DATASET = Dataset(
    config=OmniglotConfig,
    kind=FEW_SHOT_IMAGES,
    version=1,
    make=lambda config, sources: prepare(sources.locate("omniglot", find, download)),
)

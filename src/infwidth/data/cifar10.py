"""CIFAR10 as uint8 arrays: from torchvision's archive, or from a tree {train,test}/<class>/*.{png,jpg}, also packed as .zip or .tar.xz."""

import io
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infwidth.data.archives import Download, checksum, tar_members, zip_members
from infwidth.errors import DataError
from infwidth.progress import bar

SIZE, CHANNELS = 32, 3
SPLITS = {"train": 50_000, "test": 10_000}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OFFICIAL = Download("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")
IMAGE = re.compile(r"(?:.*/)?(train|test)/([^/]+)/([^/]+)\.(?:png|jpe?g)", re.IGNORECASE)
BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}


@dataclass(frozen=True)
class Source:
    """Where the images lie, and whether in torchvision's archive ('official') or as image files ('files')."""

    path: Path
    kind: str


def find(folder: Path) -> Source | None:
    """CIFAR10 in a folder or its subfolder ``cifar10``: the official archive first, then an archive or a tree of images."""
    for place in (folder, folder / "cifar10"):
        if (place / OFFICIAL.filename).is_file():
            return Source(place / OFFICIAL.filename, "official")
        for archive in sorted([*place.glob("cifar10*.tar.xz"), *place.glob("cifar10*.zip")]):
            return Source(archive, "files")
        if (place / "train").is_dir() and (place / "test").is_dir():
            return Source(place, "files")
    return None


def download(folder: Path) -> Source:
    return Source(OFFICIAL.fetch(folder / "cifar10"), "official")


def prepare(
    source: Source, expected: dict[str, int] = SPLITS, progress: Callable = bar
) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays 'train_x', 'test_x' (n, 3072) uint8, channels first, 'train_y', 'test_y' (n,) uint8, and the manifest.

    expected: images of each split. Raises DataError that names what is missing, of another size or no image.
    """
    if source.kind == "official":
        arrays, label = _official(source.path), "CIFAR10"
    else:
        arrays, label = _from_files(source.path, expected, progress)
    for split, number in expected.items():
        if len(arrays[f"{split}_x"]) != number:
            raise DataError(
                f"{source.path} has {len(arrays[f'{split}_x'])} {split} images instead of {number}; fetch the data again."
            )
    found = {"path": str(source.path), **({"sha256": checksum(source.path, "sha256")} if source.path.is_file() else {})}
    return arrays, {"label": label, "source": found, "class_names": list(CLASSES)}


def _from_files(path: Path, expected: dict[str, int], progress: Callable) -> tuple[dict[str, np.ndarray], str]:
    """The arrays, and what the data is called: JPEG is not what was published."""
    images: dict[tuple[str, str], list[tuple[str, np.ndarray]]] = {}
    lossy = False
    with progress(total=sum(expected.values()), desc="preparing CIFAR10", unit="image") as done:
        for name, content in _files(path):
            if match := IMAGE.fullmatch(name):
                split, label, file = match.groups()
                lossy = lossy or name.lower().endswith(("jpg", "jpeg"))
                images.setdefault((split.lower(), label), []).append((file, _pixels(content, path, name)))
                done.update()
    names = sorted({label for _, label in images})
    if set(names) != set(CLASSES):
        wrong = sorted(set(CLASSES) - set(names)) or sorted(set(names) - set(CLASSES))
        raise DataError(
            f"{path} {'lacks' if len(names) < len(CLASSES) else 'does not have'} the class folder {wrong[0]!r}; the classes are: {', '.join(CLASSES)}."
        )
    arrays: dict[str, np.ndarray] = {}
    for split in expected:
        if missing := [c for c in CLASSES if (split, c) not in images]:
            raise DataError(
                f"{path} lacks the class folder {split}/{missing[0]}; the data is incomplete, fetch it again."
            )
        ordered = [
            (CLASSES.index(c), x) for c in CLASSES for _, x in sorted(images[split, c], key=lambda item: item[0])
        ]
        arrays[f"{split}_x"] = np.stack([x for _, x in ordered])
        arrays[f"{split}_y"] = np.array([y for y, _ in ordered], np.uint8)
    return arrays, f"CIFAR10 ({'JPEG' if lossy else 'image files'})"


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            yield file.relative_to(path).as_posix(), file.read_bytes()
    else:
        yield from (zip_members if path.suffix == ".zip" else tar_members)(path)


def _pixels(content: bytes, path: Path, name: str) -> np.ndarray:
    try:
        image = Image.open(io.BytesIO(content)).convert("RGB")
    except (OSError, SyntaxError, ValueError) as e:
        raise DataError(f"{path}: {name} is not a readable image ({e}); fetch the data again.") from e
    if image.size != (SIZE, SIZE):
        raise DataError(
            f"{path}: {name} is {image.size[0]} x {image.size[1]} pixels instead of {SIZE} x {SIZE}; this is not CIFAR10."
        )
    return np.asarray(image).transpose(2, 0, 1).reshape(-1)


class _Arrays(pickle.Unpickler):
    """Reads the archive's dictionaries of arrays and nothing that could execute."""

    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _official(path: Path) -> dict[str, np.ndarray]:
    found = checksum(path, "md5")
    if found != OFFICIAL.digest:
        raise DataError(f"{path} has md5 {found} instead of {OFFICIAL.digest}; fetch it again.")
    parts: dict[str, dict] = {}
    for name, content in tar_members(path):
        stem = name.rsplit("/", 1)[-1]
        if stem in sum(BATCHES.values(), []):
            try:
                parts[stem] = _Arrays(io.BytesIO(content), encoding="bytes").load()
            except (pickle.UnpicklingError, EOFError, AttributeError, ValueError) as e:
                raise DataError(f"{path}: {name} is not one of CIFAR10's batches ({e}); fetch it again.") from e
    arrays = {}
    for split, names in BATCHES.items():
        if missing := [n for n in names if n not in parts]:
            raise DataError(f"{path} lacks {missing[0]}; fetch it again.")
        arrays[f"{split}_x"] = np.concatenate([parts[n][b"data"] for n in names])
        arrays[f"{split}_y"] = np.array(sum((list(parts[n][b"labels"]) for n in names), []), np.uint8)
    return arrays

"""CIFAR10 as uint8 arrays: from torchvision's archive, or from a tree {train,test}/<class>/*.{png,jpg}, also packed as
.zip or .tar.xz."""

import io
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from infwidth.data.archives import Download, checksum, tar_members, zip_members
from infwidth.data.dataset import Dataset
from infwidth.data.kinds import IMAGES
from infwidth.data.pictures import channels_first, decoded
from infwidth.errors import DataError
from infwidth.progress import bar

SIZE = 32
SPLITS = {"train": 50_000, "test": 10_000}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OFFICIAL = Download("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a")
IMAGE = re.compile(r"(?:.*/)?(train|test)/([^/]+)/([^/]+)\.(?:png|jpe?g)", re.IGNORECASE)
BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}


@dataclass(frozen=True, kw_only=True)
class Cifar10Config:
    """conf/data/cifar10.yaml"""

    name: Literal["cifar10"] = "cifar10"


@dataclass(frozen=True)
class Source:
    """Where the images lie, and whether in torchvision's archive ('official') or as image files ('files')."""

    path: Path
    kind: str


def find(folder: Path) -> Source | None:
    """CIFAR10 in a folder or its subfolder ``cifar10``: the official archive, else an archive or a tree of images."""
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
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays 'train_x', 'test_x' (n, 3072) uint8, channels first, 'train_y', 'test_y' (n,) uint8, and the manifest.

    expected: images of each split. Raises DataError that names what is missing, of another size or no image.
    """
    if source.kind == "official":
        arrays, label = _official(source.path), "CIFAR10"
    else:
        arrays, label = _from_files(source.path, expected, progress)
    for split, number in expected.items():
        found = len(arrays[f"{split}_x"])
        if found != number:
            raise DataError(f"{source.path} has {found} {split} images instead of {number}; fetch the data again.")
    description = {"path": str(source.path)}
    if source.path.is_file():
        description["sha256"] = checksum(source.path, "sha256")
    return arrays, {"label": label, "source": description, "class_names": list(CLASSES)}


def _from_files(path: Path, expected: dict[str, int], progress: Callable) -> tuple[dict[str, np.ndarray], str]:
    """The arrays, and what the data is called: JPEG is not what was published."""
    images: dict[tuple[str, str], list[tuple[str, np.ndarray]]] = {}  # of each split and class: file name, pixels
    lossy = False
    with progress(total=sum(expected.values()), desc="preparing CIFAR10", unit="image") as done:
        for name, content in _files(path):
            if match := IMAGE.fullmatch(name):
                split, label, file = match.groups()
                lossy = lossy or name.lower().endswith(("jpg", "jpeg"))
                pixels = channels_first(decoded(content, "RGB", SIZE, f"{path}: {name}"))
                images.setdefault((split.lower(), label), []).append((file, pixels))
                done.update()
    _require_classes(path, {label for _, label in images})
    arrays: dict[str, np.ndarray] = {}
    for split in expected:
        if missing := [c for c in CLASSES if (split, c) not in images]:
            raise DataError(
                f"{path} lacks the class folder {split}/{missing[0]}; the data is incomplete, fetch it again."
            )
        in_order = [sorted(images[split, c], key=lambda image: image[0]) for c in CLASSES]
        arrays[f"{split}_x"] = np.stack([pixels for of_class in in_order for _, pixels in of_class])
        arrays[f"{split}_y"] = np.repeat(np.arange(len(CLASSES), dtype=np.uint8), [len(c) for c in in_order])
    return arrays, f"CIFAR10 ({'JPEG' if lossy else 'image files'})"


def _require_classes(path: Path, found: set[str]) -> None:
    """DataError unless these are the names of CIFAR10's classes."""
    wanted = f"the classes are: {', '.join(CLASSES)}"
    if missing := sorted(set(CLASSES) - found):
        raise DataError(f"{path} lacks the class folder {missing[0]!r}; {wanted}.")
    if strange := sorted(found - set(CLASSES)):
        raise DataError(f"{path} has a class folder {strange[0]!r}, which is not CIFAR10's; {wanted}.")


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            yield file.relative_to(path).as_posix(), file.read_bytes()
    else:
        yield from (zip_members if path.suffix == ".zip" else tar_members)(path)


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
    """The arrays from torchvision's archive."""
    found = checksum(path, OFFICIAL.algorithm)
    if found != OFFICIAL.digest:
        raise DataError(f"{path} has md5 {found} instead of {OFFICIAL.digest}; fetch it again.")
    batches = _batches(path)
    arrays = {}
    for split, names in BATCHES.items():
        if missing := [n for n in names if n not in batches]:
            raise DataError(f"{path} lacks {missing[0]}; fetch it again.")
        arrays[f"{split}_x"] = np.concatenate([batches[n][b"data"] for n in names])
        arrays[f"{split}_y"] = np.concatenate([np.array(batches[n][b"labels"], np.uint8) for n in names])
    return arrays


def _batches(path: Path) -> dict[str, dict]:
    """The archive's batches by name, each with b'data' (n, 3072) uint8, channels first, and b'labels', a list."""
    wanted = {name for names in BATCHES.values() for name in names}
    batches = {}
    for member, content in tar_members(path):
        name = member.rsplit("/", 1)[-1]
        if name in wanted:
            try:
                batches[name] = _Arrays(io.BytesIO(content), encoding="bytes").load()
            except (pickle.UnpicklingError, EOFError, AttributeError, ValueError) as e:
                raise DataError(f"{path}: {member} is not one of CIFAR10's batches ({e}); fetch it again.") from e
    return batches


DATASET = Dataset(
    config=Cifar10Config,
    kind=IMAGES,
    version=1,
    make=lambda config, sources: prepare(sources.locate("cifar10", find, download)),
)

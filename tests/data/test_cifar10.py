"""CIFAR10 from the official archive's format, from trees of images and from packed ones; what is wrong is named."""

import io
import os
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from infwidth.data import cifar10
from infwidth.data.archives import checksum
from infwidth.errors import DataError
from tests.data.helpers import empty_png

EACH = {"train": 20, "test": 10}


def pixels(split, label, i):
    """A 32 x 32 image that its file's place decides."""
    return np.random.default_rng([len(split), label, i]).integers(256, size=(32, 32, 3), dtype=np.uint8)


def tree(folder, suffix="png"):
    for split, number in EACH.items():
        for label, name in enumerate(cifar10.CLASSES):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(number // 10):
                Image.fromarray(pixels(split, label, i)).save(place / f"{i:04d}.{suffix}")
    return folder


def prepared(folder, **options):
    return cifar10.prepare(cifar10.find(folder), EACH, **options)


def test_a_tree_its_archives_and_the_official_format_give_the_same_arrays(tmp_path, monkeypatch):
    arrays, manifest = prepared(tree(tmp_path / "tree"))
    assert manifest["label"] == "CIFAR10 (image files)" and manifest["class_names"] == list(cifar10.CLASSES)
    assert arrays["train_x"].shape == (20, 3072) and arrays["train_y"].tolist() == [
        c for c in range(10) for _ in range(2)
    ]
    np.testing.assert_array_equal(arrays["train_x"][5], pixels("train", 2, 1).transpose(2, 0, 1).ravel())
    for name in ("cifar10.zip", "cifar10.tar.xz"):
        place = tmp_path / name.replace(".", "_")
        place.mkdir()
        files = [p for p in (tmp_path / "tree").rglob("*.png")]
        if name.endswith("zip"):
            with zipfile.ZipFile(place / name, "w") as archive:
                for p in files:
                    archive.write(p, p.relative_to(tmp_path))
        else:
            with tarfile.open(place / name, "w:xz") as archive:
                for p in files:
                    archive.add(p, p.relative_to(tmp_path))
        packed, _ = prepared(place)
        assert all(np.array_equal(arrays[k], packed[k]) for k in arrays)
    official = tmp_path / "official"
    official.mkdir()
    with tarfile.open(official / cifar10.OFFICIAL.filename, "w:gz") as archive:
        rows = np.arange(20).reshape(5, 4)
        batches = {f"data_batch_{i + 1}": ("train", r) for i, r in enumerate(rows)} | {
            "test_batch": ("test", np.arange(10))
        }
        for name, (split, r) in batches.items():
            content = pickle.dumps({b"data": arrays[f"{split}_x"][r], b"labels": arrays[f"{split}_y"][r].tolist()})
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with pytest.raises(DataError, match="has md5 .* instead of c58f3"):
        prepared(official)
    digest = checksum(official / cifar10.OFFICIAL.filename, "md5")
    monkeypatch.setattr(cifar10, "OFFICIAL", cifar10.Download(cifar10.OFFICIAL.url, digest))
    found, manifest = prepared(official)
    assert manifest["label"] == "CIFAR10" and all(np.array_equal(arrays[k], found[k]) for k in arrays)


def test_jpeg_is_said_to_be_jpeg(tmp_path):
    assert prepared(tree(tmp_path, "jpg"))[1]["label"] == "CIFAR10 (JPEG)"


def test_what_is_missing_broken_or_of_another_size_is_named(tmp_path):
    place = tree(tmp_path) / "train" / "frog"
    for name in ("0000.png", "0001.png"):
        (place / name).rename(tmp_path / f"kept_{name}")
    with pytest.raises(DataError, match="lacks the class folder train/frog"):
        prepared(tmp_path)
    (tmp_path / "kept_0000.png").rename(place / "0000.png")
    with pytest.raises(DataError, match="has 19 train images instead of 20"):
        prepared(tmp_path)
    Image.fromarray(np.zeros((32, 16, 3), np.uint8)).save(place / "0001.png")
    with pytest.raises(DataError, match="train/frog/0001.png is 16 x 32 pixels instead of 32 x 32"):
        prepared(tmp_path)
    for size in (10_000, 15_000, 20_000):
        (place / "0001.png").write_bytes(empty_png(size, size))
        with pytest.raises(DataError, match="train/frog/0001.png is .* instead of 32 x 32"):
            prepared(tmp_path)
    (place / "0001.png").write_bytes((place / "0000.png").read_bytes()[:60])
    with pytest.raises(DataError, match="train/frog/0001.png is not a readable image"):
        prepared(tmp_path)
    (place / "0001.png").unlink()
    (tmp_path / "train" / "frog").rename(tmp_path / "train" / "toad")
    with pytest.raises(DataError, match="has a class folder 'toad', which is not CIFAR10's"):
        prepared(tmp_path)


def test_a_class_that_is_nowhere_is_named(tmp_path):
    tree(tmp_path)
    for split in ("train", "test"):
        shutil.rmtree(tmp_path / split / "frog")
    with pytest.raises(DataError, match="lacks the class folder 'frog'; the classes are: airplane, automobile"):
        prepared(tmp_path)


def test_the_archive_cannot_execute_anything(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    with tarfile.open(tmp_path / cifar10.OFFICIAL.filename, "w:gz") as archive:
        content = pickle.dumps(Evil())
        entry = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    digest = checksum(tmp_path / cifar10.OFFICIAL.filename, "md5")
    monkeypatch.setattr(cifar10, "OFFICIAL", cifar10.Download(cifar10.OFFICIAL.url, digest))
    with pytest.raises(DataError, match="data_batch_1 is not one of CIFAR10's batches .it asks for posix.mkdir"):
        prepared(tmp_path)
    assert not (tmp_path / "owned").exists()

"""Omniglot: how it is found, verified and prepared, and what is said when it cannot be."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infwidth.data import archives, catalog, omniglot
from infwidth.data.pictures import decoded
from infwidth.errors import DataError
from tests.data.helpers import empty_png

SMALL_SPLIT = {
    "train": [("images_background", "A", 1)],
    "validation": [("images_background", "A", 2)],
    "test": [("images_evaluation", "B", 1)],
}


def png(shift: int) -> bytes:
    """A 105 x 105 drawing in Omniglot's manner: 1 bit, black stroke on white."""
    pixels = np.full((105, 105), 255, np.uint8)
    pixels[10 : 20 + shift, 30:36] = 0
    out = io.BytesIO()
    Image.fromarray(pixels).convert("1").save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def tiny_omniglot(tmp_path, monkeypatch):
    """A mirror with one alphabet in each part, and a split of its three characters."""
    folder = tmp_path / "mirror" / "omniglot"
    folder.mkdir(parents=True)
    for part, alphabet, characters in (("images_background", "A", 2), ("images_evaluation", "B", 1)):
        with zipfile.ZipFile(folder / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as z:
            for c in range(1, characters + 1):
                for d in range(1, 21):
                    z.writestr(f"{part}/{alphabet}/character{c:02d}/{c:04d}_{d:02d}.png", png(c + d))
    monkeypatch.setattr(omniglot, "vinyals_split", lambda: SMALL_SPLIT)
    return tmp_path / "mirror"


def obtain(tmp_path, mirror):
    return catalog.obtain({"name": "omniglot", "root": str(tmp_path / "data"), "mirror": str(mirror)})


def test_omniglot_is_prepared_from_a_mirror_once(tmp_path, tiny_omniglot):
    found = obtain(tmp_path, tiny_omniglot)
    assert {k: a.shape for k, a in found.arrays.items()} == {
        "train": (4, 20, 784),
        "validation": (4, 20, 784),
        "test": (1, 20, 784),
    }
    assert isinstance(found.arrays["train"], np.memmap) and found.arrays["train"].dtype == np.uint8
    assert found.manifest["test_class_names"] == ["B 1"] and found.manifest["kind"] == "few-shot images"
    assert "sha256" in found.manifest["source"]["images_background"]
    (tiny_omniglot / "omniglot" / "images_background.zip").unlink()
    assert obtain(tmp_path, tiny_omniglot).checksum == found.checksum
    assert not [p for p in (tmp_path / "data/prepared").iterdir() if p.name.startswith(".")]


def test_a_tree_gives_the_same_arrays_as_the_archives(tmp_path, tiny_omniglot):
    tree = tmp_path / "tree"
    for part in omniglot.PARTS:
        with zipfile.ZipFile(tiny_omniglot / "omniglot" / f"{part}.zip") as z:
            z.extractall(tree)
    assert obtain(tmp_path / "a", tree).checksum == obtain(tmp_path / "b", tiny_omniglot).checksum


def test_rotations_are_classes_and_strokes_are_bright():
    turned = omniglot.rotated_and_resized(decoded(png(40), "L", 105, "here")).astype(int)
    assert turned.shape == (4, 28, 28) and turned.max() > 200 and turned.min() == 0
    for i in range(4):  # resizing 105 to 28 commutes with quarter turns up to the rounding of two 8-bit passes
        assert np.abs(turned[i] - np.rot90(turned[0], i)).max() <= 2
    assert turned[0][:14].sum() > turned[0][14:].sum()  # the stroke is at the top of the drawing


def test_the_vinyals_split_has_its_published_sizes():
    split = omniglot.vinyals_split()
    assert {k: len(v) for k, v in split.items()} == {"train": 1028, "validation": 172, "test": 423}
    assert len(set().union(*map(set, split.values()))) == 1623


def rewritten(path, change):
    """Pack an archive anew with the entries (name, content) that ``change`` makes of its own."""
    with zipfile.ZipFile(path) as old:
        entries = [(info.filename, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, content in change(entries):
            new.writestr(name, content)


@pytest.mark.parametrize("size", [104, 10_000, 15_000, 20_000, 2**31 - 1])
def test_an_image_of_another_size_is_refused_by_its_header(tmp_path, tiny_omniglot, size):
    path = tiny_omniglot / "omniglot" / "images_background.zip"
    rewritten(path, lambda entries: [(entries[0][0], empty_png(size, size)), *entries[1:]])
    with pytest.raises(DataError, match="0001_01.png is .* instead of 105 x 105") as e:
        obtain(tmp_path, tiny_omniglot)
    assert str(path) in str(e.value)


def test_files_of_other_names_are_passed_over(tmp_path, tiny_omniglot):
    wanted = obtain(tmp_path / "a", tiny_omniglot).checksum
    others = (
        "__MACOSX/._0001_01.png",
        "images_background/A/character01/first.png",
        "images_evaluation/B/character01/0001_01.png",
    )
    path = tiny_omniglot / "omniglot" / "images_background.zip"
    rewritten(path, lambda entries: [*entries, *((name, b"no image") for name in others)])
    assert obtain(tmp_path / "b", tiny_omniglot).checksum == wanted
    tree = tmp_path / "tree"
    for part in omniglot.PARTS:
        with zipfile.ZipFile(tiny_omniglot / "omniglot" / f"{part}.zip") as z:
            z.extractall(tree)
    (tree / "images_background" / "A" / "characters").mkdir()
    (tree / "images_background" / "A" / "characters" / "0001_01.png").write_bytes(b"no image")
    assert obtain(tmp_path / "c", tree).checksum == wanted


@pytest.mark.parametrize(
    "damage, message",
    [
        ("truncated", "not a whole zip archive"),
        ("byte", "not a whole zip archive"),
        ("missing", "has 19 of the 20 drawings of A/character01"),
        ("image", "not a readable image"),
    ],
)
def test_damaged_archives_are_named_and_nothing_is_prepared(tmp_path, tiny_omniglot, damage, message):
    path = tiny_omniglot / "omniglot" / "images_background.zip"
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "byte":
        with zipfile.ZipFile(path) as z:
            info = z.infolist()[0]
        at = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    else:
        name = zipfile.ZipFile(path).namelist()[0]
        first = [(name, b"no image")] if damage == "image" else []
        rewritten(path, lambda entries: [*first, *entries[1:]])
    with pytest.raises(DataError, match=message) as e:
        obtain(tmp_path, tiny_omniglot)
    assert "images_background" in str(e.value)
    assert not (tmp_path / "data/prepared").exists() or not list((tmp_path / "data/prepared").iterdir())


def test_missing_data_names_the_remedies(tmp_path, monkeypatch):
    def offline(*arguments):
        raise DataError("no connection.")

    monkeypatch.setattr(archives.Download, "fetch", offline)
    with pytest.raises(DataError) as e:
        obtain(tmp_path, tmp_path)
    for remedy in ("raw", "DATA_MIRROR", "internet", "scale=demo"):
        assert remedy in str(e.value)
    with pytest.raises(DataError, match="not a folder; correct DATA_MIRROR"):
        obtain(tmp_path, tmp_path / "nowhere")


@pytest.mark.realdata
def test_the_real_omniglot(tmp_path):
    mirror = os.environ.get("DATA_MIRROR")
    if not mirror or omniglot.find(Path(mirror)) is None:
        pytest.skip("DATA_MIRROR has no Omniglot")
    found = obtain(tmp_path, mirror)
    assert {k: a.shape for k, a in found.arrays.items()} == {
        "train": (4112, 20, 784),
        "validation": (688, 20, 784),
        "test": (423, 20, 784),
    }
    ink = found.arrays["train"][:50].astype(float).mean() / 255
    assert 0.03 < ink < 0.3

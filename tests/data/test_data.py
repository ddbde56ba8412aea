"""Datasets: how they are found, verified and prepared, and what is said when they cannot be."""

import functools
import http.server
import io
import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infwidth.data import archives, catalog, omniglot, prepared
from infwidth.errors import ConfigError, DataError

GLYPHS = {
    "name": "glyphs",
    "train_classes": 5,
    "validation_classes": 3,
    "test_classes": 2,
    "drawers": 4,
    "jitter": 0.1,
    "generator_seed": 0,
}
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
    image = Image.open(io.BytesIO(png(40)))
    turned = omniglot.rotated_and_resized(image).astype(int)
    assert turned.shape == (4, 28, 28) and turned.max() > 200 and turned.min() == 0
    for i in range(4):  # resizing 105 to 28 commutes with quarter turns up to the rounding of two 8-bit passes
        assert np.abs(turned[i] - np.rot90(turned[0], i)).max() <= 2
    assert turned[0][:14].sum() > turned[0][14:].sum()  # the stroke is at the top of the drawing


def test_the_vinyals_split_has_its_published_sizes():
    split = omniglot.vinyals_split()
    assert {k: len(v) for k, v in split.items()} == {"train": 1028, "validation": 172, "test": 423}
    assert len(set().union(*map(set, split.values()))) == 1623


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
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
            for i, info in enumerate(old.infolist()):
                if i or damage == "image":
                    new.writestr(info.filename, b"no image" if not i else old.read(info))
    with pytest.raises(DataError, match=message) as e:
        obtain(tmp_path, tiny_omniglot)
    assert "images_background" in str(e.value)
    assert not (tmp_path / "data/prepared").exists() or not list((tmp_path / "data/prepared").iterdir())


@pytest.mark.parametrize("name", ["../outside.png", "/etc/outside.png", "a/../../outside.png", "C:\\outside.png"])
def test_an_entry_that_leaves_its_folder_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as z:
        z.writestr(name, b"x")
    with pytest.raises(DataError, match="would leave the folder"):
        list(archives.zip_members(tmp_path / "evil.zip"))


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


@pytest.fixture
def served(tmp_path):
    """Address of a local web server over a folder with x.zip."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "x.zip").write_bytes(b"content")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # torchvision leaves an HTTPError's file open
def test_a_download_is_verified_before_it_appears(tmp_path, served):
    good = archives.Download(f"{served}/x.zip", "9a0364b9e99bb480dd25e1f0284c8555")
    assert good.fetch(tmp_path / "raw").read_bytes() == b"content"
    (tmp_path / "raw" / "x.zip").unlink()
    with pytest.raises(DataError, match="arrived with md5 9a0364b9e99bb480dd25e1f0284c8555 instead of 0000"):
        archives.Download(f"{served}/x.zip", "0" * 32).fetch(tmp_path / "raw")
    with pytest.raises(DataError, match="could not be downloaded"):
        archives.Download(f"{served}/absent.zip", "0" * 32).fetch(tmp_path / "raw")
    assert not list((tmp_path / "raw").iterdir())


def test_glyphs_are_deterministic_and_splits_differ(tmp_path):
    a = catalog.obtain({**GLYPHS, "root": str(tmp_path / "a")})
    b = catalog.obtain({**GLYPHS, "root": str(tmp_path / "b")})
    assert a.checksum == b.checksum and a.arrays["train"].shape == (5, 4, 784)
    assert not np.array_equal(a.arrays["train"][:2], a.arrays["test"])
    other = catalog.obtain({**GLYPHS, "generator_seed": 1, "root": str(tmp_path / "a")})
    assert other.checksum != a.checksum
    x = a.arrays["train"].astype(float)
    within, between = np.abs(x[:, 0] - x[:, 1]).mean(), np.abs(x[0, 0] - x[1:, 0]).mean()
    assert within < between and x.max() == 255


def test_damaged_prepared_data_is_named(tmp_path):
    catalog.obtain({**GLYPHS, "root": str(tmp_path)})
    folder = next((tmp_path / "prepared").iterdir())
    (folder / "train.npy").write_bytes(b"\x93NUMPY torn")
    with pytest.raises(DataError, match="damaged .* delete that folder"):
        catalog.obtain({**GLYPHS, "root": str(tmp_path)})
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["kind"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="lacks kind"):
        catalog.obtain({**GLYPHS, "root": str(tmp_path)})


def test_pickles_are_never_loaded(tmp_path):
    prepared.write(tmp_path / "p", {"train": np.zeros(3)}, {"name": "x", "kind": "y", "label": "z", "source": "s"})
    np.save(tmp_path / "p" / "train.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        prepared.read(tmp_path / "p")


def test_unknown_names_and_keys():
    with pytest.raises(ConfigError, match="choose one of: .*omniglot, glyphs"):
        catalog.obtain({"name": "mnist"})
    with pytest.raises(ConfigError, match="data.size is not a known key"):
        catalog.obtain({**GLYPHS, "size": 3})


@pytest.mark.realdata
def test_the_real_omniglot(tmp_path):
    import os

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


def test_of_two_processes_that_prepare_the_same_the_first_stays(tmp_path):
    manifest = {"name": "x", "kind": "y", "label": "z", "source": "s"}
    first = prepared.write(tmp_path / "p", {"train": np.zeros(3)}, manifest)
    second = prepared.write(tmp_path / "p", {"train": np.zeros(3)}, manifest)
    assert second.checksum == first.checksum and [p.name for p in tmp_path.iterdir()] == ["p"]

"""Prepared data: written whole or not at all, and verified whole when it is opened."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infwidth.data import prepared
from infwidth.data.catalog import obtain
from infwidth.data.kinds import FEW_SHOT_IMAGES, Kind
from infwidth.data.workplace import workplace
from infwidth.errors import DataError
from tests.data.helpers import DIGITS, GLYPHS, PLANTED, folder_of, forged

ANY = Kind("y", {}, lambda arrays, description: None)
MANIFEST = {"name": "x", "label": "z", "source": "s"}


@pytest.fixture
def glyphs(tmp_path):
    """A folder of prepared glyphs."""
    obtain({**GLYPHS, "root": str(tmp_path)})
    return folder_of(tmp_path)


def opened_again(folder: Path):
    return obtain({**GLYPHS, "root": str(folder.parents[1])})


def edited(folder: Path, **entries) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **entries}))


def test_changed_contents_are_refused(glyphs):
    images = np.load(glyphs / "train.npy")
    np.save(glyphs / "train.npy", 255 - images)
    with pytest.raises(DataError, match=f"{glyphs} is damaged .its arrays have the checksum .* delete that folder"):
        opened_again(glyphs)
    np.save(glyphs / "train.npy", images)
    assert opened_again(glyphs).arrays["train"].shape == images.shape


def test_one_changed_bit_is_refused(glyphs):
    content = bytearray((glyphs / "test.npy").read_bytes())
    content[-1] ^= 1
    (glyphs / "test.npy").write_bytes(content)
    with pytest.raises(DataError, match="its arrays have the checksum"):
        opened_again(glyphs)


def test_a_false_checksum_is_refused(glyphs):
    edited(glyphs, checksum="0" * 64)
    with pytest.raises(DataError, match="its manifest says 000000000000"):
        opened_again(glyphs)


def test_contents_are_read_once_for_each_state_of_the_files(glyphs, monkeypatch):
    read = []
    whole = prepared.content_checksum
    monkeypatch.setattr(prepared, "content_checksum", lambda arrays: read.append(1) or whole(arrays))
    opened_again(glyphs)
    assert not read  # it was verified when it had been written
    os.utime(glyphs / "train.npy", (1, 1))
    opened_again(glyphs)
    opened_again(glyphs)
    assert len(read) == 1


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"shapes": {}}, "the array 'train' is missing"),
        ({"shapes": []}, "shapes in its manifest is"),
        ({"shapes": {"../train": [1]}}, "its manifest names an array '../train'"),
        ({"shapes": {"train": [5, 4, "784"]}}, "the shape of 'train' in its manifest is"),
        ({"shapes": {"train": 3}}, "the shape of 'train' in its manifest is 3"),
        ({"shapes": {"train": [5, 4, 783]}}, "train.npy is not what the manifest says"),
        ({"shapes": {"absent": [1]}, "dtypes": {"absent": "|u1"}}, "absent.npy"),
        ({"dtypes": {}}, "the dtype of 'train' in its manifest is None"),
        ({"dtypes": {"train": 5, "validation": "|u1", "test": "|u1"}}, "the dtype of 'train' in its manifest is 5"),
        ({"dtypes": "uint8"}, "dtypes in its manifest is 'uint8'"),
        ({"label": None}, "label in its manifest is None"),
        ({"source": 3}, "source in its manifest is 3"),
        ({"kind": "text"}, "it is text, not few-shot images"),
        ({"test_class_names": None}, "test_class_names must be a list of names"),
        ({"test_class_names": ["a"]}, "its test_class_names are 1, but 'test' has 2 classes"),
        ({"test_class_names": ["a", 2]}, "test_class_names must be a list of names"),
    ],
)
def test_every_entry_of_the_manifest_is_verified(glyphs, entries, message):
    edited(glyphs, **entries)
    with pytest.raises(DataError, match="is damaged .* delete that folder") as e:
        opened_again(glyphs)
    assert message in str(e.value) and str(glyphs) in str(e.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"name": "glyphs"}'])
def test_a_manifest_that_is_none_is_named(glyphs, content):
    (glyphs / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match="is damaged .* delete that folder"):
        opened_again(glyphs)


def header(text: str) -> bytes:
    """An .npy file of version 1.0 with this header and no contents."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY torn",
        b"PK\x03\x04",
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 784), }\n"),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000000000000,), }\n"),
        header("{'descr': '|u1', 1: False, 'shape': (5, 4, 784), }\n"),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (5, 4, 784), }\n"),
    ],
)
def test_a_file_that_is_no_array_is_named(glyphs, content):
    (glyphs / "train.npy").write_bytes(content)
    with pytest.raises(DataError, match="damaged .* delete that folder"):
        opened_again(glyphs)


def test_a_missing_file_and_a_folder_for_a_file_are_named(glyphs):
    (glyphs / "train.npy").unlink()
    with pytest.raises(DataError, match="damaged .*train.npy.* delete that folder"):
        opened_again(glyphs)
    (glyphs / "train.npy").mkdir()
    with pytest.raises(DataError, match="damaged .*train.npy.* delete that folder"):
        opened_again(glyphs)


def test_pickles_are_never_loaded(tmp_path):
    prepared.write(tmp_path / "p", {"train": np.zeros(3)}, MANIFEST, ANY)
    np.save(tmp_path / "p" / "train.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        prepared.read(tmp_path / "p", ANY)


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), MemoryError()])
def test_a_lack_of_memory_is_no_damage(glyphs, monkeypatch, error):
    def fail(*arguments, **more):
        raise error

    monkeypatch.setattr(np.lib.format, "open_memmap", fail)
    with pytest.raises(DataError, match="not enough memory to open .* lower trainer.threads") as e:
        opened_again(glyphs)
    assert "delete" not in str(e.value)


def test_a_disk_that_fails_is_no_damage(glyphs, monkeypatch):
    def fail(*arguments, **more):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(np.lib.format, "open_memmap", fail)
    with pytest.raises(DataError, match="cannot be read .*Input/output error"):
        opened_again(glyphs)


def put(name, array):
    """A change of one array."""

    def change(arrays, manifest):
        arrays[name] = array(arrays[name])

    return change


def say(**entries):
    return lambda arrays, manifest: manifest.update(entries)


def drop(name):
    def change(arrays, manifest):
        arrays.pop(name, None)
        manifest.pop(name, None)

    return change


def replaced(index, value):
    """A change of one entry of an array."""

    def change(array):
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    "data, change, message",
    [
        (PLANTED, put("tokens", replaced(7, 10_000)), "'tokens' has numbers from 0 to 10000 instead of 0 to"),
        (PLANTED, put("tokens", replaced(7, -1)), "'tokens' has numbers from -1"),
        (PLANTED, put("tokens", lambda a: a[:0]), "'tokens' has no running words"),
        (PLANTED, put("tokens", lambda a: a.astype(np.float32)), "'tokens' is float32 (5000,) instead of int32"),
        (PLANTED, put("questions", lambda a: a[:, :3].copy()), "'questions' has 3 columns instead of 4"),
        (
            PLANTED,
            put("questions", lambda a: a[:, 0].copy()),
            "'questions' is int32 (21,) instead of int32 (questions, 4)",
        ),
        (PLANTED, put("questions", replaced((2, 1), 10_000)), "'questions' has numbers from"),
        (PLANTED, put("questions", replaced((2, 1), -2)), "'questions' has numbers from -2"),
        (PLANTED, put("sections", replaced(0, 3)), "'sections' has numbers from 0 to 3 instead of 0 to 2"),
        (PLANTED, put("sections", lambda a: a[1:].copy()), "'sections' has 20 questions instead of 21"),
        (PLANTED, put("words", lambda a: a[1:].copy()), "words instead of"),
        (PLANTED, put("words", replaced(0, 255)), "no UTF-8 text"),
        (PLANTED, put("words", replaced(0, 0)), "'words' holds '', which is not one word"),
        (PLANTED, put("words", lambda a: replaced(1, a[0])(a)), "'words' holds a word twice"),
        (PLANTED, put("words", lambda a: a.astype(np.int64)), "'words' is int64"),
        (PLANTED, put("counts", lambda a: a[::-1].copy()), "'counts' must be positive, the highest first"),
        (PLANTED, put("counts", replaced(-1, 0)), "'counts' must be positive, the highest first"),
        (PLANTED, put("counts", lambda a: a.astype(np.int32)), "'counts' is int32"),
        (PLANTED, drop("counts"), "the array 'counts' is missing"),
        (PLANTED, drop("sections"), "the array 'sections' is missing"),
        (PLANTED, say(sections=None), "its sections must be a list of names"),
        (PLANTED, say(sections=["a", "b", 3]), "its sections must be a list of names"),
        (DIGITS, put("train_y", replaced(3, 10)), "'train_y' has numbers from 0 to 10 instead of 0 to 9"),
        (DIGITS, put("train_y", lambda a: a[1:].copy()), "'train_y' has 1396 training images instead of 1397"),
        (DIGITS, put("test_x", lambda a: a[:, 1:].copy()), "'test_x' has 63 numbers instead of 64"),
        (DIGITS, put("test_x", lambda a: a / 255), "'test_x' is float64"),
        (DIGITS, drop("test_y"), "the array 'test_y' is missing"),
        (DIGITS, say(class_names=[]), "its class_names are 0, but there must be two or more"),
        (DIGITS, say(class_names="0123456789"), "its class_names must be a list of names"),
        (DIGITS, drop("class_names"), "its class_names must be a list of names, not None"),
        (GLYPHS, put("test", lambda a: a[:, :, 1:].copy()), "'test' has 783 pixels instead of 784"),
        (GLYPHS, put("validation", lambda a: a[:0]), "'validation' has no validation classes"),
        (GLYPHS, drop("test_class_names"), "its test_class_names must be a list of names, not None"),
    ],
)
def test_what_a_task_relies_on_is_verified(tmp_path, data, change, message):
    folder = forged(data, tmp_path, change)
    with pytest.raises(DataError, match="is damaged .* delete that folder") as e:
        obtain({**data, "root": str(tmp_path)})
    assert message in str(e.value) and str(folder) in str(e.value)


def test_a_text_may_have_no_questions(tmp_path):
    def change(arrays, manifest):
        arrays.update(questions=np.zeros((0, 4), np.int32), sections=np.zeros(0, np.int32))
        manifest["sections"] = []

    forged(PLANTED, tmp_path, change)
    found = obtain({**PLANTED, "root": str(tmp_path)})
    assert found.arrays["questions"].shape == (0, 4) and found.arrays["sections"].shape == (0,)


def test_wrong_arrays_are_not_written(tmp_path):
    images = np.zeros((2, 3, 4), np.uint8)
    arrays = {"train": images, "validation": images, "test": images}
    with pytest.raises(DataError, match="made for data.name=x is not .* 'few-shot images' .its test_class_names are 1"):
        prepared.write(tmp_path / "p", arrays, {**MANIFEST, "test_class_names": ["a"]}, FEW_SHOT_IMAGES)
    assert not list(tmp_path.iterdir())


def test_of_two_processes_that_prepare_the_same_the_first_stays(tmp_path):
    first = prepared.write(tmp_path / "p", {"train": np.zeros(3)}, MANIFEST, ANY)
    second = prepared.write(tmp_path / "p", {"train": np.zeros(3)}, MANIFEST, ANY)
    assert second.checksum == first.checksum and [p.name for p in tmp_path.iterdir()] == ["p"]


def test_a_full_disk_is_named_and_keeps_nothing(tmp_path, monkeypatch):
    def fail(path, *arguments, **more):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(DataError, match="No space left on device.* set data.root"):
        obtain({**GLYPHS, "root": str(tmp_path)})
    assert not list((tmp_path / "prepared").iterdir())


def test_an_interruption_keeps_nothing(tmp_path, monkeypatch):
    def interrupt(path, *arguments, **more):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(np, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            obtain({**GLYPHS, "root": str(tmp_path)})
    assert not list((tmp_path / "prepared").iterdir())
    assert len(obtain({**GLYPHS, "root": str(tmp_path)}).arrays["train"]) == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from infwidth.data.workplace import workplace

with workplace(Path(sys.argv[1])) as folder:
    (folder / "train.npy").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_never_read_and_goes(tmp_path):
    target = tmp_path / "prepared" / "glyphs-12345678"
    subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    (left,) = (tmp_path / "prepared").iterdir()
    assert left.name.startswith(".") and (left / "train.npy").exists()
    with workplace(tmp_path / "prepared" / "other") as of_a_live_process:
        obtain({**GLYPHS, "root": str(tmp_path)})
        assert not left.exists() and of_a_live_process.exists()
    assert folder_of(tmp_path).name != target.name

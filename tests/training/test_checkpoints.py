"""Checkpoints are whole or refused."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from infwidth.errors import CheckpointError
from infwidth.training import checkpoints, files

TENSORS = {"model.U": torch.arange(60.0).reshape(6, 10), "model.empty": torch.zeros(0, 3)}


def test_round_trip(tmp_path):
    info = {"epoch": 3, "loss": float("nan")}
    checkpoints.save(tmp_path / "c", TENSORS | {"half": torch.ones(3, dtype=torch.bfloat16)}, info, "run1")
    found = checkpoints.load(tmp_path / "c", "run1")
    assert found.info == {"epoch": 3, "loss": None} and found.tensors["half"].dtype == torch.bfloat16
    assert all(torch.equal(found.tensors.part("model.")[k.removeprefix("model.")], v) for k, v in TENSORS.items())


SAID = {
    "torn": "torn",
    "empty": "torn",
    "a folder": "torn or is no checkpoint",
    "flipped in a tensor": "damaged",
    "flipped in the info": "damaged",
    "foreign": "not written by this version",
    "other run": "belongs to run run2",
}


@pytest.mark.parametrize("damage", SAID)
def test_damage_is_refused(tmp_path, damage):
    path = tmp_path / "c"
    checkpoints.save(path, TENSORS, {"epoch": 3}, "run2" if damage == "other run" else "run1")
    content = bytearray(path.read_bytes())
    if damage == "torn":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped in a tensor":
        content[-30] ^= 0xFF
        path.write_bytes(content)
    elif damage == "flipped in the info":
        path.write_bytes(content.replace(b'epoch\\": 3', b'epoch\\": 4'))
    elif damage == "foreign":
        save_file(TENSORS, path)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    with pytest.raises(CheckpointError, match=SAID[damage]):
        checkpoints.load(path, "run1")


@pytest.mark.parametrize("change", [torch.Tensor.int, lambda t: t.reshape(10, 6)], ids=["type", "shape"])
def test_the_checksum_covers_types_and_shapes(tmp_path, change):
    """Zeros are the same bytes in any type of that size and in any shape of that many."""
    for path, tensor in ((tmp_path / "a", torch.zeros(6, 10)), (tmp_path / "b", change(torch.zeros(6, 10)))):
        checkpoints.save(path, {"U": tensor}, {}, "run1")
    one, other = (checkpoints.safe_open(tmp_path / n, framework="pt").metadata()["checksum"] for n in "ab")
    assert one != other


def test_the_one_before_the_last_is_kept(tmp_path):
    for epoch in (1, 2, 3):
        checkpoints.rotate_and_save(tmp_path, TENSORS, {"epoch": epoch}, "run1")
    found = {name: checkpoints.load(tmp_path / name).info["epoch"] for name in (checkpoints.LAST, checkpoints.PREVIOUS)}
    assert found == {checkpoints.LAST: 3, checkpoints.PREVIOUS: 2}


def test_tensors_in_the_same_memory_are_written_each_by_itself(tmp_path):
    rows = torch.arange(50.0).reshape(10, 5)
    tensors = {"tied": rows, "to": rows, "part": rows[:4], "later": rows[2:]}
    checkpoints.save(tmp_path / "c", tensors, {}, "run1")
    assert all(torch.equal(t, tensors[name]) for name, t in checkpoints.load(tmp_path / "c").tensors.items())


def test_a_checkpoint_that_would_fill_the_disk_is_refused_with_the_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=400))
    with pytest.raises(CheckpointError, match="0.0 MB would fill more than half of the 0.0 MB free"):
        checkpoints.save(tmp_path / "c", TENSORS, {}, "run1")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_checkpoint_and_nothing_else(tmp_path, monkeypatch):
    checkpoints.save(tmp_path / "c", TENSORS, {"epoch": 1}, "run1")

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoints.save(tmp_path / "c", TENSORS, {"epoch": 2}, "run1")
    assert checkpoints.load(tmp_path / "c").info == {"epoch": 1} and len(list(tmp_path.iterdir())) == 1


def test_a_folder_in_the_place_of_the_one_before_is_a_sentence(tmp_path):
    checkpoints.rotate_and_save(tmp_path, TENSORS, {}, "run1")
    (tmp_path / checkpoints.PREVIOUS / "in it").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="could not be written .*directory.*make its folder writable"):
        checkpoints.rotate_and_save(tmp_path, TENSORS, {}, "run1")
    assert checkpoints.load(tmp_path / checkpoints.LAST, "run1")


def test_a_refused_file_is_set_aside_beside_others(tmp_path):
    for content in ("one", "two"):
        (tmp_path / "last").write_text(content)
        checkpoints.set_aside(tmp_path / "last")
    assert [(tmp_path / f"refused-{n}.safetensors").read_text() for n in (1, 2)] == ["one", "two"]


def test_json_has_no_nan_and_no_infinity(tmp_path):
    files.write_json(tmp_path / "a", {"a": float("nan"), "b": [1.5, float("inf")], "c": ({"d": -float("inf")},)})
    assert (tmp_path / "a").read_text().split() == '{ "a": null, "b": [ 1.5, null ], "c": [ { "d": null } ] }'.split()

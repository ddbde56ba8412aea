"""Checkpoints are whole or refused."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from infwidth.errors import CheckpointError
from infwidth.training import checkpoints

TENSORS = {"model.U": torch.arange(60.0).reshape(6, 10), "model.empty": torch.zeros(0, 3)}


def test_round_trip(tmp_path):
    checkpoints.save(tmp_path / "c", TENSORS, {"epoch": 3}, "run1")
    tensors, info = checkpoints.load(tmp_path / "c", "run1")
    assert info == {"epoch": 3} and all(torch.equal(tensors[k], v) for k, v in TENSORS.items())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "other run", "empty"])
def test_damage_is_refused(tmp_path, damage):
    path = tmp_path / "c"
    checkpoints.save(path, TENSORS, {}, "run2" if damage == "other run" else "run1")
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[-30] ^= 0xFF
        path.write_bytes(content)
    elif damage == "foreign":
        save_file(TENSORS, path)
    elif damage == "empty":
        path.write_bytes(b"")
    with pytest.raises(
        CheckpointError,
        match={"other run": "belongs to run run2", "foreign": "not written by infwidth", "flipped": "damaged"}.get(
            damage, "torn"
        ),
    ):
        checkpoints.load(path, "run1")


def test_the_one_before_the_last_is_kept_and_used(tmp_path):
    for epoch in (1, 2, 3):
        checkpoints.rotate_and_save(tmp_path, TENSORS, {"epoch": epoch}, "run1")
    warnings = []
    assert checkpoints.latest(tmp_path, "run1", warnings.append)[1] == {"epoch": 3} and not warnings
    (tmp_path / "last.safetensors").write_bytes(b"torn")
    assert checkpoints.latest(tmp_path, "run1", warnings.append)[1] == {"epoch": 2} and len(warnings) == 1
    (tmp_path / "previous.safetensors").unlink()
    assert checkpoints.latest(tmp_path, "run1", warnings.append) is None


def test_a_checkpoint_that_would_fill_the_disk_is_refused_with_the_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=400))
    with pytest.raises(CheckpointError, match="0.0 MB would fill more than half of the 0.0 MB free"):
        checkpoints.save(tmp_path / "c", TENSORS, {}, "run1")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoints.save(tmp_path / "c", TENSORS, {"epoch": 1}, "run1")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoints.save(tmp_path / "c", TENSORS, {"epoch": 2}, "run1")
    assert checkpoints.load(tmp_path / "c")[1] == {"epoch": 1} and len(list(tmp_path.iterdir())) == 1

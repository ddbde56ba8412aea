"""A run's folder: its lock, its summary, its provenance, and who works in it."""

import json

import pandas as pd
import pytest
import torch

from infwidth import measure, train
from infwidth.errors import OutputError
from infwidth.theory.experiment import Part
from infwidth.training import provenance, run_directory
from infwidth.training.peak import Peak
from infwidth.training.provenance import Starts
from infwidth.training.run_directory import RunDirectory
from tests.training.helpers import folder_of, killed_after, only_folder, small


def test_a_lock_that_is_a_link_leaves_its_target_alone(tmp_path):
    (tmp_path / "precious").write_text("content")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with (
        pytest.raises(OutputError, match="is a link to another file; remove the link"),
        RunDirectory(tmp_path / "run").locked(),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "content" and not RunDirectory(tmp_path / "run").is_locked()


def test_what_is_in_a_lock_file_stays(tmp_path):
    (tmp_path / ".lock").write_text("content")
    with RunDirectory(tmp_path).locked():
        assert RunDirectory(tmp_path).is_locked()
    assert (tmp_path / ".lock").read_text() == "content" and not RunDirectory(tmp_path).is_locked()


def test_looking_whether_a_run_is_locked_does_not_keep_it_from_starting(tmp_path, monkeypatch):
    """Somebody looks, which takes the lock for a moment, just when the run asks for it."""
    directory, asked = RunDirectory(tmp_path), []
    flock = run_directory.fcntl.flock

    def busy(lock, operation):
        asked.append(operation)
        if len(asked) < 3:
            raise BlockingIOError
        flock(lock, operation)

    monkeypatch.setattr(run_directory.fcntl, "flock", busy)
    with directory.locked():
        assert len(asked) == 3


@pytest.mark.parametrize(
    "content", ['{"status": "finished"}', "[1]", "{torn", '{"status": 3}', "folder", "another", "binary"]
)
def test_a_damaged_summary_is_a_sentence_and_force_repeats_the_run(tmp_path, content):
    path = folder_of(tmp_path, train.run(small(tmp_path))) / "summary.json"
    kept = path.read_text()
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content == "binary":
        path.write_bytes(b"\xff[]")
    elif content == "another":
        path.write_text(kept.replace(path.parent.name, "0123456789ab"))
    else:
        path.write_text(content)
    with pytest.raises(OutputError, match="restore it, or use force=true"):
        train.run(small(tmp_path))
    assert train.run(small(tmp_path, "force=true"))["status"] == "finished"


def test_a_run_that_stops_being_finished_while_another_process_looks_is_carried_out(tmp_path, monkeypatch):
    summary = train.run(small(tmp_path))
    read, times = RunDirectory.summary, []

    def vanishing(self):
        times.append(self)
        return read(self) if len(times) == 1 else {}

    with monkeypatch.context() as m:
        m.setattr(RunDirectory, "summary", vanishing)
        train.run(small(tmp_path))
    again = RunDirectory(folder_of(tmp_path, summary)).summary()
    assert again["status"] == "finished" and len(again["provenance"]["starts"]) == 2


def test_provenance_has_every_start(tmp_path, monkeypatch):
    commits = iter(["aaaa", "bbbb", "bbbb+"])
    monkeypatch.setattr(provenance, "commit", lambda: next(commits))
    config = small(tmp_path, "trainer.checkpoint_every=1")
    for step in (7, 13):
        with killed_after(step):
            train.run(config)
    threads = torch.get_num_threads()
    found = train.run({**config, "trainer": {**config["trainer"], "threads": 2}})["provenance"]
    torch.set_num_threads(threads)
    assert found["commit"] == "aaaa" and found["commits"] == ["aaaa", "bbbb", "bbbb+"]
    assert [start["step"] for start in found["starts"]] == [7, 13, 18]
    assert [start["threads"] for start in found["starts"]] == [threads, threads, 2]
    assert found["wall_seconds"] == pytest.approx(sum(s["wall_seconds"] for s in found["starts"]), abs=0.02)
    assert found["peak_memory_bytes"] == max(s["peak_memory_bytes"] for s in found["starts"]) > 1e7
    assert all(s["wall_seconds"] > 0 and s["system"] and s["versions"]["torch"] for s in found["starts"])
    assert found["hardware"].startswith(f"{threads} threads of ") and "; then 2 threads of " in found["hardware"]


def test_damaged_provenance_does_not_stop_a_run(tmp_path, capsys):
    config = small(tmp_path, "trainer.checkpoint_every=1")
    with killed_after(7):
        train.run(config)
    (only_folder(tmp_path) / "provenance.json").write_text('{"starts": [{"commit": 3}]}')
    assert len(train.run(config)["provenance"]["starts"]) == 1
    assert "the starts before this one are not known" in capsys.readouterr().out


def test_measurements_have_the_same_provenance_and_the_same_sentences(tmp_path, monkeypatch):
    part = Part("exponents", {"widths": [2, 4]}, lambda: pd.DataFrame({"a": [1]}))
    monkeypatch.setattr(measure, "parts", lambda recipe, scale: [part])
    runs = tmp_path / "runs" / "theory"
    measure.carry_out(None, "demo", runs, force=False)
    (folder,) = runs.iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["provenance"]["commit"] and len(summary["provenance"]["starts"]) == 1
    (folder / "summary.json").write_text("{torn")
    with pytest.raises(OutputError, match="restore it, or use force=true"):
        measure.carry_out(None, "demo", runs, force=False)
    measure.carry_out(None, "demo", runs, force=True)


def test_starts_of_a_folder_add_up(tmp_path):
    for _ in range(3):
        starts = Starts(RunDirectory(tmp_path), Peak(torch.device("cpu")))
    assert len(starts.summary()["starts"]) == 3 and "commits" not in starts.summary()

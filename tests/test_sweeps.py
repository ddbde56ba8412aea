"""Sweeps: their jobs, launchers, failures, progress, and what a kill costs."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf

from infwidth import sweeps
from infwidth.errors import DataError
from infwidth.runs.compose import CONF
from infwidth.sweeps import Note
from infwidth.training.run_directory import RunDirectory
from tests.commands import command, refused
from tests.conftest import REPOSITORY
from tests.training.helpers import SMALL

TINY = [o for o in SMALL if not o.startswith(("model", "trainer.epochs"))]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
SUBMITIT = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"]


@pytest.mark.parametrize("name", sorted(p.stem for p in (Path(CONF) / "sweep").glob("*.yaml")))
def test_saved_sweeps_are_named_as_their_files(name):
    assert yaml.safe_load((Path(CONF) / "sweep" / f"{name}.yaml").read_text())["name"] == name


def _folder(tmp_path, task=("seed=0,1,2,3,4",)):
    (tmp_path / "multirun.yaml").write_text(
        yaml.safe_dump({"hydra": {"sweeper": {"params": {"model": "finite"}}, "overrides": {"task": list(task)}}})
    )
    return tmp_path


def _run(folder, name, status=None, seconds=100.0):
    directory = RunDirectory(folder / name)
    directory.create({})
    if status:
        directory.write_summary({"status": status, "provenance": {"wall_seconds": seconds}})
    return str(directory.path)


def progress(folder):
    return sweeps.progress(folder, sweeps.found(folder))


def _end(folder):
    sweeps.Sweep().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}}}))


def test_progress_of_a_sweep(tmp_path):
    folder = _folder(tmp_path)
    planned = sweeps.planned(folder)
    assert planned[2] == ["model=finite", "seed=2"]
    Note(folder, 0, planned[0]).write(run=_run(folder, "a", "finished"), started=0)
    Note(folder, 1, planned[1]).write(run=_run(folder, "b", "diverged", 60.0), started=0)
    Note(folder, 2, planned[2]).write(error="model.width must be a whole number, not 'x'.")
    running = _run(folder, "c")
    Note(folder, 3, planned[3]).write(run=running, started=time.time() - 30)
    with RunDirectory(running).locked():
        text = progress(folder)
    assert "5 jobs; 1 finished, 1 diverged, 1 failed, 1 running, 1 waiting" in text
    assert "time left: about 2.2 min" in text  # (80 - 30) of the running job and 80 of the waiting one, one at a time
    assert (
        "failed: #2 seed=2 (model.width must be" in text and "running: #3 seed=3" in text and "model=finite" not in text
    )
    assert "0 running, 2 waiting" in progress(folder)  # a killed job is not running


def test_notes_of_an_earlier_sweep_do_not_count(tmp_path):
    folder = _folder(tmp_path)
    Note(folder, 0, ["model=finite", "seed=7"]).write(run=_run(folder, "a", "finished"), started=0)
    (folder / ".jobs" / "1.json").write_text("{torn")
    assert "0 finished" in progress(folder)


@pytest.mark.parametrize("about", [{"run": 5}, {"run": "x", "started": "now"}, {"error": 3}, {"run": None}])
def test_a_damaged_note_does_not_count(about, tmp_path):
    folder = _folder(tmp_path)
    Note(folder, 0, sweeps.planned(folder)[0]).write(**about)
    assert "5 waiting" in progress(folder)


@pytest.mark.parametrize("summary", ['{"status": "finished"}', '{"status": "finished", "provenance": {}}', "[]", "{"])
def test_a_damaged_summary_does_not_end_the_progress_of_a_sweep(summary, tmp_path):
    folder = _folder(tmp_path)
    run = _run(folder, "a")
    Note(folder, 0, sweeps.planned(folder)[0]).write(run=run, started=0)
    (Path(run) / "summary.json").write_text(summary)
    assert "5 jobs; " in progress(folder)


def test_no_sweep(tmp_path):
    done = command("status", "name=nothing", f"paths.results={tmp_path}", check=False)
    assert refused(done, "there is no sweep in")
    done = command("status", "name=../nothing", f"paths.results={tmp_path}", check=False)
    assert refused(done, "it becomes a folder")


@pytest.mark.parametrize(
    "content",
    [
        b"hydra: 3",
        b"\xff\xfe\x00",
        b"hydra: {sweeper: {params: [a, b]}, overrides: {task: []}}",
        b"hydra: {sweeper: {}, overrides: {task: 5}}",
        b"hydra: {sweeper: {}, overrides: {task: [5]}}",
        b"hydra: {sweeper: {}, overrides: {task: ['a=[']}}",
        b"hydra: {sweeper: 3",
        b"- 1",
    ],
)
def test_a_damaged_multirun(content, tmp_path):
    (tmp_path / "multirun.yaml").write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        sweeps.planned(tmp_path)


def test_a_multirun_that_is_a_folder(tmp_path):
    (tmp_path / "multirun.yaml").mkdir()
    with pytest.raises(DataError, match="is damaged"):
        sweeps.planned(tmp_path)


@pytest.mark.parametrize("name", ["../../../outside", "inside,../../../outside"])
def test_a_sweep_writes_nothing_outside(name, tmp_path):
    results = tmp_path / "a" / "results"
    done = command("train", "-m", *TINY, f"name={name}", "seed=0,1", f"paths.results={results}", check=False)
    assert refused(done, "it becomes a folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "given, said",
    [
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs is 0; it is the number of jobs"),
        (["hydra.sweep.dir=/dev/null/x"], "the sweep's folder /dev/null/x cannot be made"),
        (["paths.results=/dev/null/x"], "cannot be a folder"),
        (["hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size is 0"),
        (["seed=range(1000000000)"], "is a sweep of more than 10000 jobs"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_its_first_job(given, said, tmp_path):
    seeds = [] if given[0].startswith("seed") else ["seed=0,1"]
    results = [] if given[0].startswith("paths") else [f"paths.results={tmp_path}"]
    done = command("train", "-m", *TINY, *seeds, *results, *given, check=False)
    assert refused(done, said) and not list(tmp_path.glob("runs/*/*/summary.json"))


def test_the_end_of_a_sweep_reads_its_notes_once(tmp_path, monkeypatch, capsys):
    folder = _folder(tmp_path)
    Note(folder, 0, sweeps.planned(folder)[0]).write(error="it failed.")
    read = []
    monkeypatch.setattr(Note, "read", lambda note, before=Note.read: read.append(note.path.name) or before(note))
    with pytest.raises(SystemExit) as e:
        _end(folder)
    assert e.value.code == 1 and "1 failed" in capsys.readouterr().out
    assert read == [f"{i}.json" for i in range(5)]


def test_a_sweep_whose_jobs_are_not_all_done_has_failed(tmp_path, capsys):
    """Whatever has become of them: a launcher may lose a job without a word."""
    folder = _folder(tmp_path, ["seed=0,1"])
    Note(folder, 0, ["model=finite", "seed=0"]).write(run=_run(folder, "a", "finished"), started=0)
    with pytest.raises(SystemExit) as e:
        _end(folder)
    assert e.value.code == 1 and "1 finished, 0 diverged, 0 failed, 0 running, 1 waiting" in capsys.readouterr().out
    Note(folder, 1, ["model=finite", "seed=1"]).write(run=_run(folder, "b", "diverged"), started=0)
    _end(folder)


@pytest.mark.parametrize(
    "launcher, said",
    [(JOBLIB, "the process of a job was killed"), (SUBMITIT, "hydra_submitit_launcher has failed (")],
)
def test_a_launcher_that_fails(launcher, said, tmp_path):
    """A sentence, and what became of the jobs, although Hydra does not come to the end of the sweep."""
    sweep = [*TINY, "name=lost", "model=finite", "model.width=4", "seed=0,1", *launcher]
    kill = "+hydra.callbacks.spy={_target_: tests.spy.Killed, job: 1}"
    done = command("train", "-m", *sweep, kill, folder=tmp_path, check=False)
    assert done.returncode == 2 and f"\nerror: {said}" in f"\n{done.stderr}", done.stderr
    assert "2 jobs; " in done.stdout and "2 jobs; 0 finished" not in done.stdout


def test_a_sweep_over_names_knows_its_jobs(tmp_path):
    """Its jobs' runs lie in several folders, what they say of themselves in the sweep's."""
    sweep = [*TINY, "name=one,two", "model=finite", "model.width=4"]
    assert "2 jobs; 2 finished" in command("train", "-m", *sweep, folder=tmp_path).stdout


def test_failed_and_diverged_jobs_do_not_stop_a_sweep(tmp_path):
    """A wrong config, a run that diverges, two that finish; the same command continues, the progress says so."""
    overrides = [
        "-m",
        *TINY,
        "name=mixed",
        "model=finite",
        "model.depth=1",
        "model.width=4",
        "trainer.clip=null",
        "trainer.learning_rate=0.1,1e30",
        "task.ways=2,900",
        *JOBLIB,
    ]
    done = command("train", *overrides, folder=tmp_path, check=False)
    assert done.returncode == 1
    assert "4 jobs; 1 finished, 1 diverged, 2 failed, 0 running, 0 waiting" in done.stdout, done.stdout + done.stderr
    status = command("status", "name=mixed", f"paths.results={tmp_path}/results")
    assert "failed: #1 trainer.learning_rate=0.1 task.ways=900 (" in status.stdout and "diverged: #2" in status.stdout
    again = command("train", *overrides, folder=tmp_path, check=False)
    assert again.stdout.count("skipped") == 2


def test_submitit_runs_a_sweep_on_this_machine(tmp_path):
    done = command(
        "train",
        "-m",
        *TINY,
        "name=local",
        "model=finite",
        "model.width=4,8",
        *SUBMITIT,
        folder=tmp_path,
    )
    assert "2 jobs; 2 finished" in done.stdout


def _table(folder):
    command("report", "name=killed", f"paths.results={folder}/results")
    return pd.read_csv(folder / "results" / "killed" / "table.csv").drop(columns="commit").to_csv()


def _sweep(folder, *extra):
    arguments = [
        *TINY,
        "trainer.epochs=6",
        "trainer.checkpoint_every=2",
        "name=killed",
        "model=finite",
        "model.width=4,8,16",
        "seed=0,1",
        *JOBLIB,
        *extra,
    ]
    return [
        sys.executable,
        "-m",
        "infwidth.train",
        "-m",
        *arguments,
        f"paths.results={folder}/results",
        f"data.root={folder}/data",
    ]


@pytest.mark.slow
def test_a_killed_sweep_loses_nothing_and_repeats_nothing(tmp_path):
    """kill -9 of all its processes at random moments; then the same command: the table of an undisturbed sweep."""
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    subprocess.run(_sweep(undisturbed), cwd=REPOSITORY, check=True, capture_output=True)
    moments, ends = random.Random(0), {}
    for _ in range(4):
        process = subprocess.Popen(
            _sweep(disturbed),
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moments.uniform(5, 15))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for path in (disturbed / "results" / "runs" / "killed").glob("*/summary.json"):
            summary = RunDirectory(path.parent).summary()
            if summary.get("status") == "finished":
                assert (
                    ends.setdefault(path.parent.name, summary["provenance"]["ended"]) == summary["provenance"]["ended"]
                )
    done = subprocess.run(_sweep(disturbed), cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert "6 jobs; 6 finished" in done.stdout and done.stdout.count("skipped") == len(ends)
    assert _table(disturbed) == _table(undisturbed)

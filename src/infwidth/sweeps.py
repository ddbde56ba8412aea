"""Sweeps: the jobs of a multirun, what became of each, and how long the rest will take.

Hydra keeps a multirun's config beside its runs (multirun.yaml); each job leaves a note in ``.jobs`` that says where its
run is, or why there is none.
"""

import atexit
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from infwidth.command import begin, sentences
from infwidth.errors import ConfigError, DataError, InfwidthError, OutputError
from infwidth.launchers import MULTIRUN, NOTES, make_ready, threads_of_job
from infwidth.runs.compose import unresolved
from infwidth.runs.folders import require_name
from infwidth.runs.overrides import jobs
from infwidth.training.run_directory import RunDirectory, write_json

DECIDES_NUMBERS = False

DONE = ("finished", "diverged")
STATES = (*DONE, "failed", "running", "waiting")


def planned(folder: Path) -> list[list[str]]:
    """The jobs of the multirun that was last started in a folder. DataError if there is none."""
    path = folder / MULTIRUN
    try:
        hydra = yaml.safe_load(path.read_text())["hydra"]
        return jobs(_overrides(hydra))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"there is no sweep in {folder} (no {MULTIRUN}); `name=` is the sweep's name, `paths.results=` where its "
            "results are."
        ) from None
    except (OSError, yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ConfigError) as e:
        why = str(e).splitlines()[0]
        raise DataError(f"{path} is damaged ({why}); start the sweep again, what is finished is kept.") from e


def _overrides(hydra: Mapping[str, Any]) -> list[str]:
    """Those that a multirun was started with: the saved sweep's, then the command line's. hydra: Hydra's own config."""
    saved = hydra["sweeper"].get("params") or {}
    return [*(f"{key}={value}" for key, value in saved.items()), *hydra["overrides"]["task"]]


class Note:
    """What a job says of itself while Hydra runs it."""

    def __init__(self, folder: Path, number: int, overrides: Sequence[str]):
        self.path, self.overrides = folder / NOTES / f"{number}.json", list(overrides)

    def write(self, **about: Any) -> None:
        """OutputError if it cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"overrides": self.overrides, **about})
        except OSError as e:
            raise OutputError(f"{self.path} cannot be written ({e.strerror}); set another hydra.sweep.dir.") from e

    def read(self) -> dict[str, Any]:
        """What was written: 'run' and 'started', or 'error'. Empty if it belongs to another sweep, or is damaged."""
        try:
            found = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict) or found.get("overrides") != self.overrides:
            return {}
        texts = isinstance(found.get("run", ""), str) and isinstance(found.get("error", ""), str)
        return found if texts and isinstance(found.get("started", 0), (int, float)) else {}


@dataclass(frozen=True)
class Job:
    """state: one of STATES; seconds: that its run took, or has been running; reason: why it failed."""

    number: int
    overrides: Sequence[str]
    state: str
    seconds: float = 0.0
    reason: str = ""


def found(folder: Path) -> list[Job]:
    """What has become of every job of the sweep in a folder."""
    return [_job(i, overrides, Note(folder, i, overrides).read()) for i, overrides in enumerate(planned(folder))]


def _job(number: int, overrides: Sequence[str], note: Mapping[str, Any]) -> Job:
    if "error" in note:
        return Job(number, overrides, "failed", reason=note["error"])
    if "run" not in note:
        return Job(number, overrides, "waiting")
    directory = RunDirectory(Path(note["run"]))
    if directory.is_locked():
        return Job(number, overrides, "running", max(0.0, time.time() - note.get("started", time.time())))
    try:
        summary = directory.summary()
    except InfwidthError as e:
        return Job(number, overrides, "failed", reason=str(e))
    status = summary.get("status")
    if status == "failed":
        return Job(number, overrides, status, _seconds(summary), "its error is in the sweep's output")
    if status in DONE:
        return Job(number, overrides, status, _seconds(summary))
    return Job(number, overrides, "waiting")  # interrupted, or killed before it could say so: to be resumed


def _seconds(summary: Mapping[str, Any]) -> float:
    """The wall time of a run; 0 where its summary does not say."""
    provenance = summary.get("provenance")
    seconds = provenance.get("wall_seconds") if isinstance(provenance, Mapping) else None
    return seconds if isinstance(seconds, (int, float)) else 0.0


def seconds_left(found: Sequence[Job]) -> float | None:
    """Expected seconds until all jobs are done; None before the first is.

    As many are taken to run at a time as are running now; one, if none is.
    """
    done = [job.seconds for job in found if job.state in DONE]
    if not done:
        return None
    mean = sum(done) / len(done)
    running = [job for job in found if job.state == "running"]
    work = sum(max(0.0, mean - job.seconds) for job in running) + mean * sum(job.state == "waiting" for job in found)
    return work / max(1, len(running))


def progress(folder: Path, found: Sequence[Job]) -> str:
    """Several lines: how many jobs are in which state, the time left, and each that runs, failed or diverged."""
    counts = Counter(job.state for job in found)
    lines = [f"{folder}: {len(found)} jobs; " + ", ".join(f"{counts[state]} {state}" for state in STATES)]
    if counts["running"] + counts["waiting"]:
        left = seconds_left(found)
        lines.append(f"time left: {'not known before the first job is done' if left is None else _minutes(left)}")
    varied = _varied([job.overrides for job in found])
    for state, job in itertools.product(("running", "failed", "diverged"), found):
        if job.state == state:
            own = " ".join(o for o in job.overrides if o.split("=")[0] in varied)
            lines.append(f"  {state}: #{job.number} {own} ({job.reason or f'{job.seconds:.0f} s'})")
    return "\n".join(lines)


def _minutes(seconds: float) -> str:
    return f"about {seconds / 60:.1f} min"


def _varied(overrides: Sequence[Sequence[str]]) -> set[str]:
    """The keys that differ among jobs."""
    values: dict[str, set[str]] = {}
    for key, _, value in (o.partition("=") for job in overrides for o in job):
        values.setdefault(key, set()).add(value)
    return {key for key, found in values.items() if len(found) > 1}


class Sweep(Callback):
    """What Hydra calls before a multirun, and at its end, which a launcher that fails or Ctrl-C does not come to."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a sweep that cannot be carried out, before any of its jobs begins."""
        begin()
        with sentences():
            require_possible(config.hydra)
        atexit.register(_say_if_begun, Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Say what became of the jobs, and exit with status 1 if one failed or is not done."""
        atexit.unregister(_say_if_begun)
        folder = Path(config.hydra.sweep.dir)
        with sentences():
            all_jobs = found(folder)
        print(progress(folder, all_jobs), flush=True)
        if any(job.state not in DONE for job in all_jobs):
            sys.exit(1)


def _say_if_begun(folder: Path) -> None:
    """What became of the jobs of a sweep that ends in the middle, at the end of its command."""
    try:
        all_jobs = found(folder)
    except InfwidthError:
        return  # it ends for its own reason, which has been said
    if any(Note(folder, job.number, job.overrides).read() for job in all_jobs):
        print(progress(folder, all_jobs), flush=True)


def require_possible(hydra: DictConfig) -> None:
    """ConfigError or OutputError for what would stop a sweep of this config of Hydra's in the middle."""
    for override in itertools.chain(*jobs(_overrides(OmegaConf.to_container(hydra)))):
        if override.startswith("name=") and "$" not in override:
            require_name(override.removeprefix("name="))
    launcher = OmegaConf.to_container(hydra.launcher)
    make_ready(launcher)
    threads_of_job(launcher)
    batch = hydra.sweeper.get("max_batch_size")
    if batch is not None and batch < 1:
        raise ConfigError(f"hydra.sweeper.max_batch_size is {batch}; it must be at least 1, or null.")
    try:
        folder = Path(hydra.sweep.dir)
    except OmegaConfBaseException as e:
        raise unresolved(e) from e
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as e:
        raise OutputError(
            f"the sweep's folder {folder} cannot be made ({e.strerror}); set another paths.results."
        ) from e
    if not writable:
        raise OutputError(f"the sweep's folder {folder} cannot be written; set another paths.results.")

"""Sweeps: the jobs of a multirun, what became of each, and how long the rest will take.

Hydra keeps a multirun's config beside its runs (multirun.yaml); each job leaves a note in ``.jobs`` that says where its run is, or why there is none.
"""

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

from infwidth.errors import DataError
from infwidth.runs.overrides import jobs
from infwidth.training.run_directory import RunDirectory, write_json

MULTIRUN, NOTES = "multirun.yaml", ".jobs"
STATES = ("finished", "diverged", "failed", "running", "waiting")


def planned(folder: Path) -> list[list[str]]:
    """The jobs of the multirun that was last started in a folder. DataError if there is none."""
    path = folder / MULTIRUN
    try:
        hydra = yaml.safe_load(path.read_text())["hydra"]
        params = hydra["sweeper"].get("params") or {}
        return jobs([*(f"{key}={value}" for key, value in params.items()), *hydra["overrides"]["task"]])
    except OSError:
        raise DataError(
            f"there is no sweep in {folder} (no {MULTIRUN}); `name=` is the sweep's name, `paths.results=` where its results are."
        ) from None
    except (yaml.YAMLError, KeyError, TypeError) as e:
        raise DataError(f"{path} is damaged ({e}); start the sweep again, what is finished is kept.") from e


class Note:
    """What a job says of itself while Hydra runs it."""

    def __init__(self, folder: Path, number: int, overrides: Sequence[str]):
        self.path, self.overrides = folder / NOTES / f"{number}.json", list(overrides)

    def write(self, **about: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {"overrides": self.overrides, **about})

    def read(self) -> dict[str, Any]:
        """What was written; empty if it belongs to another sweep, or is damaged."""
        try:
            found = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("overrides") == self.overrides else {}


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
        return Job(number, overrides, "running", max(0.0, time.time() - note["started"]))
    summary = directory.summary()
    if summary.get("status") in ("finished", "diverged", "failed"):
        return Job(
            number,
            overrides,
            summary["status"],
            summary["provenance"]["wall_seconds"],
            "its error is in the sweep's output" if summary["status"] == "failed" else "",
        )
    return Job(
        number, overrides, "waiting"
    )  # interrupted, or killed before it could say so: the same command resumes it


def seconds_left(found: Sequence[Job]) -> float | None:
    """Expected seconds until all jobs are done, at as many at a time as are running now (one, if none is); None before the first is done."""
    done = [job.seconds for job in found if job.state in ("finished", "diverged")]
    if not done:
        return None
    mean = sum(done) / len(done)
    running = [job for job in found if job.state == "running"]
    work = sum(max(0.0, mean - job.seconds) for job in running) + mean * sum(job.state == "waiting" for job in found)
    return work / max(1, len(running))


def progress(folder: Path) -> str:
    """Several lines: how many jobs are in which state, the time left, and each that runs, failed or diverged."""
    all_jobs = found(folder)
    counts = Counter(job.state for job in all_jobs)
    lines = [f"{folder}: {len(all_jobs)} jobs; " + ", ".join(f"{counts[state]} {state}" for state in STATES)]
    if counts["running"] + counts["waiting"]:
        left = seconds_left(all_jobs)
        lines.append(
            "time left: " + ("not known before the first job is done" if left is None else f"about {left / 60:.1f} min")
        )
    varied = _varied([job.overrides for job in all_jobs])
    for state, job in itertools.product(("running", "failed", "diverged"), all_jobs):
        if job.state == state:
            detail = job.reason or f"{job.seconds:.0f} s"
            lines.append(
                f"  {state}: #{job.number} {' '.join(o for o in job.overrides if o.split('=')[0] in varied)} ({detail})"
            )
    return "\n".join(lines)


def _varied(overrides: Sequence[Sequence[str]]) -> set[str]:
    """The keys that differ among jobs."""
    values: dict[str, set[str]] = {}
    for key, _, value in (o.partition("=") for job in overrides for o in job):
        values.setdefault(key, set()).add(value)
    return {key for key, found in values.items() if len(found) > 1}


def threads_of_job(launcher: Mapping[str, Any]) -> int | None:
    """CPU threads for each job of a launcher that runs several at once on this machine, so that they share its cores; None: all of them.

    launcher: Hydra's config of it. Jobs that each used all cores would slow each other down many times over.
    """
    target, cores = (
        launcher["_target_"].rsplit(".", 1)[-1],
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
    )
    if target == "JoblibLauncher":
        at_once = (
            launcher["n_jobs"]
            if launcher["n_jobs"] and launcher["n_jobs"] > 0
            else max(1, cores + 1 + (launcher["n_jobs"] or -1))
        )
        return max(1, cores // at_once)
    if target in ("LocalLauncher", "SlurmLauncher"):
        return launcher["cpus_per_task"] or 1
    return None


class Summary(Callback):
    """At the end of a multirun: what became of its jobs, and exit status 1 if one failed."""

    def on_multirun_end(self, config, **_: Any) -> None:
        folder = Path(config.hydra.sweep.dir)
        print(progress(folder), flush=True)
        if any(job.state == "failed" for job in found(folder)):
            sys.exit(1)

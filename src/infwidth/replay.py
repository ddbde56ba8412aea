"""Do marked rows still come out? `make replay` or `python -m infwidth.replay name=maml`.

For each run whose code has changed since, what :mod:`infwidth.runs.replay` describes is computed again with
today's code. Where it agrees, today's fingerprint is recorded beside the run's own; where it does not, the row stays
marked, and where it differs is said.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from infwidth import measure, replaying
from infwidth.command import command
from infwidth.config import load
from infwidth.errors import InfwidthError
from infwidth.job import specified
from infwidth.places import EXPERIMENTS
from infwidth.progress import bar
from infwidth.reporting.measurements import planned
from infwidth.runs import fingerprint, plan, standing, store
from infwidth.runs.compose import COMMANDS, plain
from infwidth.runs.folders import PathsConfig
from infwidth.runs.replay import disagreement
from infwidth.runs.spec import run_id
from infwidth.runs.store import FINGERPRINTS, Record
from infwidth.theory.experiment import read_recipe
from infwidth.training import provenance
from infwidth.training.run_directory import RunDirectory

DECIDES_NUMBERS = False

THEORY = "theory"
GRADES = ("bitwise", "close")
DIFFERS, NOT_DONE = "NOT the same", "not replayed"


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """conf/command/replay.yaml"""

    name: str | None
    rows: tuple[str, ...] | None
    all: bool
    paths: PathsConfig
    data_root: str


@dataclass(frozen=True)
class Replayed:
    """What became of a replay.

    grade: of agreement, 'NOT the same' or 'not replayed'; reason: why; record: as it is to be kept.
    """

    record: Record
    grade: str
    reason: str = ""

    @property
    def agrees(self) -> bool:
        return self.grade in GRADES


def replay(record: Record, chosen: ReplayConfig) -> Replayed:
    """Compute a run's replay record again and compare."""
    before = record.replay
    if not {"first", "losses", "metrics"} <= before.keys():
        return Replayed(record, NOT_DONE, "it has no replay record; carry it out again (force=true)")
    try:
        after, modules = _again(record, chosen)
    except InfwidthError as e:
        return Replayed(record, NOT_DONE, str(e))
    grade, reason = disagreement(before, after)
    same_machine = all(before.get(key) == value for key, value in replaying.where().items())
    if grade == "close" and same_machine:
        return Replayed(
            record, None, "it is close, but on the same CPU and packages it has to be equal to the last digit"
        )
    if grade is None:
        return Replayed(record, DIFFERS, reason)
    digest = fingerprint.write(fingerprint.current(modules), Path(chosen.paths.results) / FINGERPRINTS)
    entry = {
        "fingerprint": digest,
        "grade": grade,
        "commit": provenance.commit(),
        "on": replaying.where()["cpu"],
        "ended": provenance.now(),
    }
    return Replayed(replace(record, replay={**before, "agreed": [entry]}), grade)


def _again(record: Record, chosen: ReplayConfig) -> tuple[Mapping[str, Any], Sequence[str]]:
    """The replay record with today's code, and the modules that it came from."""
    if "part" in record.config:
        recipe = read_recipe(EXPERIMENTS / THEORY)
        return measure.replay_record(recipe, record.row), measure.MODULES
    config = dict(record.config)
    machine = {"root": chosen.data_root, "mirror": os.environ.get("DATA_MIRROR")}
    config["data"] = {**config["data"], **machine}
    config["trainer"] = {**config["trainer"], "device": "cpu"}  # wherever the run was made
    about = {"name": "replay", "row": record.row or None, "seed": record.seed, "logger": {"name": "none"}}
    job = specified({**config, **about, "paths": {"results": chosen.paths.results}})
    if job.data.checksum != record.checksum:
        raise InfwidthError(
            f"the data are not those of the run (checksum {job.data.checksum[:12]} instead of {record.checksum[:12]})"
        )
    return replaying.record(job), job.spec.modules


def wanted(name: str, chosen: ReplayConfig) -> list[Record]:
    """The runs of an experiment that are to be replayed: planned ones, marked ones unless all are."""
    results = Path(chosen.paths.results)
    marked = standing.marker(results, name)
    found = store.load(results, name)
    if name == THEORY:
        ids = planned(read_recipe(EXPERIMENTS / name))
        found = [r for r in found if run_id(r.config) in ids]
    elif (known := plan.kept(name, results)) is not None:
        found = [r for r in found if known.members(r.config)]
    return [r for r in found if (chosen.all or marked(r)) and (chosen.rows is None or r.row in chosen.rows)]


def keep(record: Record, results: Path) -> None:
    """Keep the record of a replayed run where it lies: in its folder, and in runs.csv if it stands there."""
    if record.folder:
        directory = RunDirectory(Path(record.folder))
        with directory.locked():
            directory.write_summary({**directory.summary(), "replay": record.replay})
    path = results / record.name / store.RUNS_CSV
    records = store.read_csv(path)
    if any(r.id == record.id for r in records):
        store.write_csv(path, [replace(record, folder="") if r.id == record.id else r for r in records])


@command(COMMANDS, "replay")
def main(config: DictConfig) -> None:
    chosen = load(ReplayConfig, plain(config), "")
    results, grades = Path(chosen.paths.results), Counter()
    names = [chosen.name] if chosen.name else store.names(results)
    runs = [record for name in names for record in wanted(name, chosen)]
    with bar(total=len(runs), desc="replay", unit="run") as done:
        for record in runs:
            found = replay(record, chosen)
            label = f"{record.name}/{record.row} seed {record.seed}"
            print(f"{label}: {found.grade}{f': {found.reason}' if found.reason else ''}", flush=True)
            if found.agrees:
                keep(found.record, results)
            grades[found.grade] += 1
            done.update()
    for name in names:
        standing.keep(store.load(results, name), results, name)
    print(
        f"{len(runs)} runs replayed: " + (", ".join(f"{n} {grade}" for grade, n in grades.items()) or "none is marked")
    )


if __name__ == "__main__":
    main()

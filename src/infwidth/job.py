"""A run that is ready to be carried out: its specification, with its data at hand and what it will take."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from infwidth.data.catalog import obtain
from infwidth.data.prepared import Prepared
from infwidth.errors import CheckpointError, DataError, OutputError
from infwidth.ranks import ALONE, Ranks
from infwidth.runs import fingerprint, standing
from infwidth.runs import spec as specification
from infwidth.runs.spec import Spec
from infwidth.runs.store import ENDED, FINGERPRINTS
from infwidth.tasks.contract import Task
from infwidth.training import resources, threads
from infwidth.training.config import Length, checked
from infwidth.training.memory import during
from infwidth.training.peak import Peak
from infwidth.training.provenance import earlier_fingerprints, earlier_threads
from infwidth.training.resources import Resources
from infwidth.training.run_directory import RunDirectory

DECIDES_NUMBERS = False

OF_AN_END = {"id", "metrics", "provenance"}
"""What the summary of a run that has ended has besides its status."""


@dataclass(frozen=True)
class Job:
    """A run that is specified, with its data at hand. directory: where it is kept; peak: the memory's, since then."""

    spec: Spec
    data: Prepared
    task: Task
    length: Length
    resources: Resources
    directory: RunDirectory
    peak: Peak

    @property
    def ranks(self) -> Ranks:
        """The processes that carry it out together."""
        return self.resources.shape.ranks

    @property
    def results(self) -> Path:
        """The folder of all results."""
        return Path(self.spec.run.paths.results)

    def into(self, folder: Path) -> "Job":
        """The same run, kept in another folder."""
        return replace(self, directory=RunDirectory(folder))

    def alone(self) -> "Job":
        """The same run by this process alone. ConfigError if its model does not fit then."""
        if self.ranks.size == 1:
            return self
        resources = replace(self.resources, shape=replace(self.resources.shape, ranks=ALONE))
        resources.require_memory()
        return replace(self, resources=resources)

    def ended(self) -> dict[str, Any] | None:
        """The summary of a run that has ended before and is not to be repeated. OutputError if it is damaged."""
        if self.spec.run.force:
            return None
        summary = self.directory.summary()
        if summary.get("status") not in ENDED:
            return None
        if OF_AN_END - summary.keys() or summary["id"] != self.directory.id:
            raise OutputError(
                f"the summary of {self.directory.path} is not that of an ended run; restore it, or use force=true, "
                "which carries out the run again."
            )
        return summary


def specified(config: Mapping[str, Any], ranks: Ranks = ALONE) -> Job:
    """The run of a plain config, its data prepared; ranks: that carry it out together.

    InfwidthError for everything that is wrong with it.
    """
    spec = specification.specified(config)
    device = resources.chosen_device(spec.trainer, ranks)
    with during(f"{spec.label}: the preparation of its data"):
        job = on(spec, _obtained(spec, ranks), device, Peak(device), ranks)
    resumes = ranks.first and job.directory.resumable()
    earlier = ranks.agreed(earlier_threads(job.directory, ranks.size) if resumes else None)
    count = threads.settled(spec.trainer.threads, earlier)
    if count < threads.ALL and not (spec.trainer.threads or earlier):
        print(f"{count} of {threads.ALL} threads: the other cores are in use (trainer.threads=N decides otherwise)")
    return job


def _obtained(spec: Spec, ranks: Ranks) -> Prepared:
    """The data of a run, which on every machine one process prepares."""
    prepared = obtain(spec.run.data) if ranks.place == 0 else None
    ranks.gathered(None)  # when all are here, so are the data
    return prepared or obtain(spec.run.data)


def on(spec: Spec, data: Prepared, device: torch.device, peak: Peak, ranks: Ranks = ALONE) -> Job:
    run, task = spec.run, spec.build_task(data, device)
    data.give_back()
    length = checked(run.trainer, task)
    shape = resources.asked_of_model(run.trainer, task, length, ranks)
    keeps_best = run.trainer.selection != "last" and length.last > 0
    found = Resources(spec.model, task, shape, device, spec.dtype, keeps_best)
    folder = Path(run.paths.results) / "runs" / run.name / spec.identity(data.checksum)
    return Job(spec, data, task, length, found, RunDirectory(folder), peak)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, by which numbers do not depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_code(modules: Iterable[str], results: Path) -> str:
    """Keep the fingerprint of the code that some modules have come to so far beside all results; its digest."""
    return fingerprint.write(fingerprint.current(modules), results / FINGERPRINTS)


def require_same_code(job: Job) -> None:
    """CheckpointError if a run that is to be resumed was begun with other code, unless that is accepted."""
    run = job.spec.run
    if run.accept_changed_code or not job.directory.resumable():
        return
    for digest in earlier_fingerprints(job.directory):
        try:
            before = standing.found(Path(run.paths.results), run.name, digest)
        except DataError:
            continue  # what began it is not known here: its row is marked
        if changed := fingerprint.changed(before, fingerprint.today):
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise CheckpointError(
                f"the run {job.directory.path} was begun with other code: {', '.join(changed[:3])}{more} have changed "
                "since; restore the code that it was begun with, or use force=true, which begins anew, or "
                "accept_changed_code=true, which goes on and records it."
            )

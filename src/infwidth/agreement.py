"""What the ranks of a run have to have in common before it begins, and which models several of them can carry out."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from infwidth import models
from infwidth.described import known
from infwidth.errors import ConfigError, RankError
from infwidth.job import Job
from infwidth.models.cost import Shape
from infwidth.models.family import config_of
from infwidth.ranks import Ranks
from infwidth.training import provenance

DECIDES_NUMBERS = False

OF_A_MACHINE = {"paths.results", "data.root", "data.mirror", "data.path", "data.questions", "trainer.threads"}
"""Keys that may differ: where things lie on a machine, whose content is compared, and how many cores it has."""


def require_same_command(config: Mapping[str, Any], ranks: Ranks) -> None:
    """RankError that names the first key, or the commit, in which a rank differs from the first one."""
    if ranks.size > 1:
        keys = {key: value for key, value in _flat(config) if key not in OF_A_MACHINE}
        _require_same({"commit": provenance.commit(), **keys}, ranks, "start torchrun with one command and one commit")


def require_same_data(job: Job) -> None:
    """RankError if a rank has other data than the first one."""
    checksum = {"the checksum of the data": job.data.checksum}
    _require_same(checksum, job.ranks, "give all machines the same files (data.root, data.mirror)")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a config with dots in them, and their values."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _require_same(own: Mapping[str, Any], ranks: Ranks, remedy: str) -> None:
    first, *others = ranks.gathered(own)
    for rank, other in enumerate(others, start=1):
        for key in sorted(first.keys() | other.keys(), key=lambda key: (key != "commit", key)):
            if first.get(key) != other.get(key):
                raise RankError(
                    f"rank {rank} differs from rank 0 in {key}: {other.get(key)} instead of {first.get(key)}; {remedy} "
                    "on every machine."
                )


def require_split(job: Job) -> None:
    """ConfigError, with what would do, for more than one rank and a model that one process has to have whole."""
    model, shape = job.spec.model, job.resources.shape
    if shape.ranks.size == 1 or model.splits(shape) is not None:
        return
    inputs = {False: "dense inputs", True: "bags of indices"}
    others = "; ".join(f"on {what} {_that_split(replace(shape, bags=bags))}" for bags, what in inputs.items())
    raise ConfigError(
        f"model={model.name} with these keys cannot be split over {shape.ranks.size} ranks on {inputs[shape.bags]}, so "
        f"torchrun gains nothing: start it as one process, python -m infwidth.train. What can be split: {others}."
    )


def _that_split(shape: Shape) -> str:
    """The families that split for such inputs, and by what."""
    found = []
    for name in known(models, "FAMILY"):
        config = config_of({"name": name})
        takes = config.offers().bags if shape.bags else config.offers().dense
        if takes and (by := config.splits(shape)):
            found.append(f"model={name} (by {by})")
    return ", ".join(found)

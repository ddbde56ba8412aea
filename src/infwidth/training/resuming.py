"""Saving a run in the middle, and going on from there: the newest checkpoint that is good in every way is used."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from infwidth.errors import CheckpointError
from infwidth.models.contract import Model
from infwidth.training import checkpoints
from infwidth.training.checkpoints import LAST, PREVIOUS
from infwidth.training.config import Length
from infwidth.training.gathering import Shares, like_whole, wholes
from infwidth.training.position import Position
from infwidth.training.run_directory import METRICS, RunDirectory

MODEL, BEST = "model.", "best."
"""How names in a checkpoint begin: of the present state, and of a snapshot of the selected one if that is an earlier
one."""


@dataclass(frozen=True)
class Resumed:
    """Where a run goes on; best: a snapshot of the selected state, empty if that is the present one."""

    position: Position
    best: dict[str, Tensor]


def save(directory: RunDirectory, model: Model, best: Mapping[str, Tensor], position: Position) -> None:
    """Keep a run in the middle: all ranks together, by the first one's hand.

    CheckpointError or OutputError if that cannot be written.
    """
    with wholes(model, {MODEL: model.state(), BEST: best}, directory.checkpoints) as tensors:
        if model.ranks.first:
            info = {**position.info(), "metrics": directory.mark_metrics()}
            checkpoints.rotate_and_save(directory.checkpoints, tensors, info, directory.id)


def resume(directory: RunDirectory, model: Model, length: Length, say: Callable[[str], None] = print) -> Resumed | None:
    """Bring a model to where its run was saved last; None, with the model as it was, if the run begins.

    A checkpoint that is refused is named through ``say``, and set aside; the one before it is used. CheckpointError
    where going on, or beginning anew, would lose something. All ranks call this; the first one alone reads and says.
    """
    ranks, device = model.ranks, next(iter(model.state().values())).device
    search = _Search(directory, length, like_whole(model, model.state()), _like_snapshots(model), say)
    for name in (LAST, PREVIOUS):
        found = search.found(name) if ranks.first else None
        position = ranks.agreed(found and found.position)
        if position is None:
            continue
        try:
            best = Shares(model, found and found.best)
            model.load_state(Shares(model, found and found.state))  # a large model has no room for a copy on its device
        except CheckpointError as e:
            if ranks.first:
                search.refuse(name, e, half_loaded=True)
            continue
        if ranks.first:
            search.go_on_from(found)
        return Resumed(position, {name: best[name].to(device, copy=True) for name in best})
    if ranks.first:
        search.begin()
    return None


def _like_snapshots(model: Model) -> Callable[[], Mapping[str, Tensor]]:
    """Gives tensors like those of a whole snapshot: one is taken when it is asked for, or, by all ranks, before."""
    if model.ranks.size == 1:
        return model.snapshot
    like = like_whole(model, model.snapshot())
    return lambda: like


@dataclass(frozen=True)
class _Found:
    """A checkpoint that a run can go on from. state, best: whole, on the CPU; size: of metrics.jsonl at that time."""

    position: Position
    state: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    size: int


class _Search:
    """For the newest checkpoint that is good in every way. state, best: like the model's state and a snapshot."""

    def __init__(
        self,
        directory: RunDirectory,
        length: Length,
        state: Mapping[str, Tensor],
        best: Callable[[], Mapping[str, Tensor]],
        say: Callable[[str], None],
    ):
        self.directory, self.length, self.state, self.best, self.say = directory, length, state, best, say
        self.torn_metrics: list[Path] = []
        self.set_aside, self.half_loaded = False, False

    def found(self, name: str) -> _Found | None:
        """The checkpoint of that name, if there is one and it is good."""
        path = self.directory.checkpoints / name
        if not os.path.lexists(path):
            return None
        try:
            found = checkpoints.load(path, self.directory.id)
            position = Position.of(found.info, self.length)
            state, best = found.tensors.part(MODEL), found.tensors.part(BEST)
            require_alike(state, self.state)
            if best:
                require_alike(best, self.best())
        except CheckpointError as e:
            self.refuse(name, e)
            return None
        if not self.directory.has_metrics(found.info.get("metrics")):
            self.torn_metrics.append(path)
            return None
        return _Found(position, state, best, found.info["metrics"]["size"])

    def refuse(self, name: str, reason: CheckpointError, half_loaded: bool = False) -> None:
        """A checkpoint cannot be used. half_loaded: the model, which has taken over some of it, cannot either."""
        path = self.directory.checkpoints / name
        aside = checkpoints.set_aside(path)
        self.set_aside, self.half_loaded = True, self.half_loaded or half_loaded
        self.say(f"The checkpoint {path} is not used, and is now called {aside.name}: {reason}.")

    def go_on_from(self, found: _Found) -> None:
        if self.torn_metrics:
            self.say(
                f"{METRICS} is not as {self.torn_metrics[0]} remembers it; the run goes on from the checkpoint before."
            )
        self.directory.truncate_metrics(found.size)

    def begin(self) -> None:
        """There is none. CheckpointError where beginning anew would lose something, or is not possible."""
        if self.torn_metrics:
            raise CheckpointError(
                f"{self.directory.path / METRICS} is not as the run's checkpoints remember it; restore the file, or "
                "use force=true, which carries out the run again."
            )
        if self.half_loaded:
            raise CheckpointError(
                f"no checkpoint in {self.directory.checkpoints} fits the model; run the same command again to begin "
                "anew."
            )
        if self.set_aside:
            self.say("No checkpoint is good, the run begins anew.")
        self.directory.truncate_metrics(0)


def require_alike(state: Mapping[str, Tensor], fresh: Mapping[str, Tensor]) -> None:
    """CheckpointError unless a state is one of the model whose fresh state is given.

    A model that grows has more rows, and more blocks of rows ("A2.1" beside "A2.0"), than it had when it was fresh;
    names, types and what a row consists of stay as they are.
    """
    blocks = {name.rpartition(".")[0]: t for name, t in fresh.items() if "." in name}
    for name in sorted(fresh.keys() | state.keys()):
        like = fresh.get(name, blocks.get(name.rpartition(".")[0]))
        if name not in state or like is None:
            raise CheckpointError(f"it does not fit the model, its tensor {name!r} is missing or unknown")
        t = state[name]
        if (t.dtype, t.dim(), t.shape[1:]) != (like.dtype, like.dim(), like.shape[1:]):
            raise CheckpointError(
                f"it does not fit the model, its tensor {name!r} is {tuple(t.shape)} of {t.dtype}, not "
                f"{tuple(like.shape)} of {like.dtype}"
            )

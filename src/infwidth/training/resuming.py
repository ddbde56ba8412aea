"""Saving a run in the middle, and going on from there: the newest checkpoint that is good in every way is used."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from infwidth.errors import CheckpointError
from infwidth.models.contract import Model
from infwidth.training import checkpoints
from infwidth.training.checkpoints import LAST, PREVIOUS
from infwidth.training.config import Length
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
    """Keep a run in the middle. CheckpointError or OutputError if that cannot be written."""
    tensors = {f"{MODEL}{k}": v for k, v in model.state().items()} | {f"{BEST}{k}": v for k, v in best.items()}
    info = {**position.info(), "metrics": directory.mark_metrics()}
    checkpoints.rotate_and_save(directory.checkpoints, tensors, info, directory.id)


def resume(directory: RunDirectory, model: Model, length: Length, say: Callable[[str], None] = print) -> Resumed | None:
    """Bring a model to where its run was saved last; None, with the model as it was, if the run begins.

    A checkpoint that is refused is named through ``say``, and set aside; the one before it is used. CheckpointError
    where going on, or beginning anew, would lose something.
    """
    torn_metrics, set_aside, half_loaded = [], [], False
    for name in (LAST, PREVIOUS):
        path = directory.checkpoints / name
        if not os.path.lexists(path):
            continue
        try:
            found = checkpoints.load(path, directory.id)
            position = Position.of(found.info, length)
            state, best = found.tensors.part(MODEL), found.tensors.part(BEST)
            require_alike(state, model.state())
            if best:
                require_alike(best, model.snapshot())
            if not directory.has_metrics(found.info.get("metrics")):
                torn_metrics.append(path)
                continue
            half_loaded = True
            model.load_state(state)
        except CheckpointError as e:
            set_aside.append(checkpoints.set_aside(path))
            say(f"The checkpoint {path} is not used, and is now called {set_aside[-1].name}: {e}.")
            continue
        if torn_metrics:
            say(f"{METRICS} is not as {torn_metrics[0]} remembers it; the run goes on from the checkpoint before.")
        directory.truncate_metrics(found.info["metrics"]["size"])
        device = next(iter(model.state().values())).device
        return Resumed(position, {name: t.to(device, copy=True) for name, t in best.items()})
    if torn_metrics:
        raise CheckpointError(
            f"{directory.path / METRICS} is not as the run's checkpoints remember it; restore the file, or use "
            "force=true, which carries out the run again."
        )
    if half_loaded:
        raise CheckpointError(
            f"no checkpoint in {directory.checkpoints} fits the model; run the same command again to begin anew."
        )
    if set_aside:
        say("No checkpoint is good, the run begins anew.")
    directory.truncate_metrics(0)
    return None


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

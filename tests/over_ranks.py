"""What test_torchrun.py asks of two ranks: `torchrun --nproc-per-node=2 -m tests.over_ranks FOLDER`.

Into the folder go the runs, each below its own name, and said.json, with what became of them.
"""

import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from infwidth import agreement, job
from infwidth.errors import InfwidthError
from infwidth.joining import joined
from infwidth.models.cost import Shape, Sizes
from infwidth.running import run
from infwidth.tasks.word2vec.task import _sizes
from infwidth.training.stopping import Interrupted
from infwidth.training.trainer import Trainer
from tests.training.helpers import small

IMAGES = (
    *("task=cifar10", "model=pi_limit", "model.rank=12", "task.batch=12", "trainer.epochs=5"),
    *("trainer.keep_evaluations=true", "trainer.checkpoint_every=1"),
)
GLYPHS = ("task=maml_pi", "model=pi_limit", "model.rank=12", "task.steps_per_epoch=25", "trainer.epochs=2")
WORDS = ("task=word2vec", "trainer.steps=50", "task.embeddings=text", "trainer.learning_rate=0.2", "task.most_summed=1")

RUNS = {
    "images": (*IMAGES, "task.feature_regulariser=1e-4"),
    "images with landmarks": (*IMAGES, "model.landmarks=epoch"),
    "glyphs": GLYPHS,
    "words, mu-limit": (*WORDS, "model=mu_limit", "task.embedding_rank=6"),
    "words, finite": (*WORDS, "model=finite", "model.width=30", "trainer.clip=0.5"),
}
"""Runs of 50 steps."""

TYPES = {name: ("float64",) for name in RUNS} | dict.fromkeys(("images", "words, mu-limit"), ("float64", "float32"))
"""In what each is carried out."""

STOPPED = ("images", "words, mu-limit")
"""Runs that are also interrupted, by one number of ranks or the other, and resumed by the other."""

REFUSED = {
    "does not split": ("task=cifar10", "model=nngp_limit"),
    "does not split on dense inputs": ("task=maml_omniglot", "model=mu_limit"),
    "too few rows": (*IMAGES, "model.rank=1"),
}


def overrides(name, dtype="float64", **others):
    return (*RUNS[name], f"trainer.dtype={dtype}", *(f"trainer.{key}={value}" for key, value in others.items()))


def main(folder, ranks):
    said = {}
    config = lambda name, *options: small(folder / name, *options, f"data.root={folder}/data")
    with exchanges_watched(ranks) as differing:
        for name, types in TYPES.items():
            for dtype in types:
                run(config(f"{name}, {dtype}", *overrides(name, dtype)), ranks=ranks)
    said["exchanged otherwise than predicted"] = differing
    finished = run(config("words, finite, float64", *overrides("words, finite")), ranks=ranks)
    said["again"] = finished["metrics"]
    for name in STOPPED:
        said[f"stopped: {name}"] = stopped(config(f"{name}, stopped by two", *overrides(name)), ranks)
        run(config(f"{name}, stopped by one", *overrides(name)), ranks=ranks)
    for name, options in REFUSED.items():
        said[name] = refused(config(name, *options), ranks)
    said["another rate"] = refused(
        config("another rate", *IMAGES, *(["trainer.learning_rate=0.3"] if ranks.rank else [])), ranks
    )
    with pytest.MonkeyPatch.context() as patch:
        if ranks.rank:
            patch.setattr(agreement.provenance, "commit", lambda: "another")
        said["another commit"] = refused(config("another commit", *IMAGES), ranks)
    with pytest.MonkeyPatch.context() as patch:
        if ranks.rank:
            patch.setattr(job, "obtain", other_data(job.obtain))
        said["other data"] = refused(config("other data", *IMAGES), ranks)
    everybody = ranks.gathered(said)
    if ranks.first:
        (folder / "said.json").write_text(json.dumps(everybody))


def refused(config, ranks):
    with pytest.raises(InfwidthError) as e:
        run(config, ranks=ranks)
    return str(e.value)


def stopped(config, ranks):
    """The step at which a run stops that the second rank alone is asked to stop, after its 23rd step."""
    original, at = Trainer.step, []

    def step(self, batch):
        self.stop.asked = self.stop.asked or (ranks.rank == 1 and self.at.step == 23)
        found = original(self, batch)
        at.append(self.at.step)
        return found

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Trainer, "step", step)
        run(config, ranks=ranks)
    return at[-1]


def other_data(obtain):
    def found(data):
        prepared = obtain(data)
        return replace(prepared, manifest={**prepared.manifest, "checksum": "another"})

    return found


@contextmanager
def exchanges_watched(ranks):
    """A list of the steps of all runs in this context that exchange anything else than is predicted."""
    original, differing = Trainer.step, []
    specified, families = job.on, []

    def on(spec, *arguments):
        families.append(spec.model)
        return specified(spec, *arguments)

    def step(self, batch):
        before = ranks.exchanged
        found = original(self, batch)
        passed, task = ranks.exchanged - before, self.task
        sizes = Sizes(*_sizes(batch)) if task.bags else None
        shape = Shape(task.inputs, task.outputs, task.bags, batch=0 if task.bags else examples_of(batch))
        predicted = families[-1].exchanged(shape, sizes, self.config.clip is not None)
        if passed != predicted:
            differing.append((str(passed), str(predicted)))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "on", on)
        patch.setattr(Trainer, "step", step)
        yield differing


def examples_of(batch):
    """That a pass goes through, of episodes query and support together."""
    return (
        len(batch[0]) if isinstance(batch, tuple) else batch.query_x[..., 0].numel() + batch.support_x[..., 0].numel()
    )


if __name__ == "__main__":
    with joined(60) as ranks:
        main(Path(sys.argv[1]), ranks)

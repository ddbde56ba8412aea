"""MAML as a task: the inner loop is the model's adaptation, the outer loop the trainer's (TP4 section 9)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from scipy.stats import t as student_t
from torch import Tensor

from infwidth.config import key
from infwidth.errors import DataError
from infwidth.models.contract import Model
from infwidth.models.updates import Update
from infwidth.seeding import derived_seed, stream
from infwidth.tasks.contract import Evaluation, Probe, Task
from infwidth.tasks.description import Asks
from infwidth.tasks.losses import accuracy, cross_entropy, cross_entropy_cotangent
from infwidth.tasks.maml.episodes import Episodes, Pool, Shape, vectorised


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """The inner loop: steps of SGD at a rate on the mean support loss; order of the meta-gradient through them."""

    rate: float = key(above=0, default=0.4)
    steps: int = key(at_least=1, default=1)
    test_steps: int = key(at_least=1, default=20)
    order: Literal["first", "second"] = "first"
    parameters: Literal["all", "readout", "hidden"] | None = None


@dataclass(frozen=True, kw_only=True)
class MAMLConfig:
    """conf/task/maml_omniglot.yaml"""

    name: Literal["maml_omniglot"] = "maml_omniglot"
    ways: int = key(at_least=2, default=5)
    shots: int = key(at_least=1, default=1)
    queries: int = key(at_least=1, default=1)
    meta_batch: int = key(at_least=1, default=32)
    steps_per_epoch: int = key(at_least=1, default=100)
    evaluation_episodes: int = key(at_least=1, default=3200)
    test_seeds: int | None = key(at_least=2, default=None)
    test_episodes: int | None = key(at_least=1, default=None)
    adaptation: AdaptationConfig = AdaptationConfig()
    reduction: Literal["sum", "mean"] = "sum"
    episodes: Literal["vectorised", "learn2learn"] = "vectorised"
    probe_classes: int = key(at_least=2, default=10)

    def asks(self) -> Asks:
        return Asks(adaptation=(self.adaptation.parameters or "all", self.adaptation.order))

    def shortened(self) -> dict[str, Any]:
        """Keys of a run of some hundred meta-steps that takes every path of a whole one."""
        sets = {"task.test_seeds": 2, "task.test_episodes": 160} if self.test_seeds else {}
        return {"task.steps_per_epoch": min(self.steps_per_epoch, 40), "task.evaluation_episodes": 160, **sets}

    def idle(self) -> tuple[str, ...]:
        """Keys without effect at these values of the others."""
        return () if self.test_seeds else ("test_seeds",)


EVALUATED_AT_ONCE = 160
"""Episodes adapted together in evaluation: enough for full-size products, little memory."""

FEATURES_AT_ONCE = 500
"""Images whose features are computed together."""

HELD_OUT = 1000
"""Images on which a model may look at what it does to itself."""


class MAML(Task):
    """N-way K-shot episodes from pools of images, one per split ('train', 'validation', 'test').

    Raises DataError if a split cannot supply such episodes.
    """

    def __init__(
        self,
        config: MAMLConfig,
        pools: Mapping[str, Pool],
        class_names: tuple[str, ...],
        seed: int,
        dtype: torch.dtype = torch.float32,
    ):
        self.config, self.pools, self.class_names, self.seed, self.dtype = config, pools, class_names, seed, dtype
        self.shape = Shape(config.ways, config.shots, config.queries)
        for pool in pools.values():
            self.shape.check(pool)
        if config.probe_classes > pools["test"].classes:
            raise DataError(
                f"task.probe_classes is {config.probe_classes}, but the test split has {pools['test'].classes} classes; lower it."
            )
        self.inputs, self.outputs = pools["train"].pixels.shape[-1], config.ways
        self.steps_per_epoch = config.steps_per_epoch
        self.examples, self.evaluated = (pools[s].classes * pools[s].images_per_class for s in ("train", "validation"))
        self.batch = (
            config.meta_batch
            * config.ways
            * (config.queries + (config.shots if config.adaptation.order == "second" else 0))
        )

    def batches(self, epoch: int, start: int = 0) -> Iterator[Episodes]:
        episodes = self.config.steps_per_epoch * self.config.meta_batch
        return self._episodes("train", episodes, self.config.meta_batch, (epoch,), start)

    def _episodes(
        self,
        split: str,
        episodes: int,
        batch: int,
        names: tuple[int, ...] = (),
        start: int = 0,
        pool: Pool | None = None,
    ) -> Iterator[Episodes]:
        pool, names = pool or self.pools[split], (self.seed, split, *names)
        if self.config.episodes == "learn2learn":
            from infwidth.tasks.maml.learn2learn_episodes import learn2learn

            return learn2learn(pool, self.shape, episodes, batch, derived_seed(*names), self.dtype, start)
        return vectorised(pool, self.shape, episodes, batch, stream(*names), self.dtype, start)

    def step(self, model: Model, batch: Episodes) -> tuple[Update, dict[str, Tensor]]:
        config = self.config
        adapted = self._adapted(model, batch, config.adaptation.steps, config.adaptation.order == "second")
        outputs, pullback = adapted.linearized(batch.query_x)
        cotangent = cross_entropy_cotangent(outputs, batch.query_y)
        if config.reduction == "mean":
            cotangent = cotangent / len(outputs)
        loss = cross_entropy(outputs, batch.query_y)
        return pullback(cotangent), {"loss": loss.mean(), "accuracy": 100 * accuracy(outputs, batch.query_y).mean()}

    def _adapted(self, model: Model, batch: Episodes, steps: int, second_order: bool = False):
        def cotangent(outputs: Tensor) -> Tensor:
            return cross_entropy_cotangent(outputs, batch.support_y)

        return model.adapted(
            batch.support_x,
            cotangent,
            self.config.adaptation.rate,
            steps,
            second_order,
            self.config.adaptation.parameters or "all",
        )

    def evaluate(self, model: Model, split: str) -> Evaluation:
        """Query accuracy in per cent after adaptation, its standard error over episodes, and the query loss.

        The episodes of a split are the same at every call of a run, so that checkpoints are compared on equal terms. With test_seeds
        the test has so many sets of test_episodes, and half the 95 % interval of the mean over these is reported.
        """
        config, testing = self.config, split == "test"
        steps = config.adaptation.test_steps if testing else config.adaptation.steps
        episodes = (config.test_episodes if testing else None) or config.evaluation_episodes
        seeds = range(config.test_seeds) if testing and config.test_seeds else [None]
        pool = self._features_of(model, split)
        losses, accuracies = [], []
        for seed in seeds:
            for batch in self._episodes(split, episodes, EVALUATED_AT_ONCE, () if seed is None else (seed,), pool=pool):
                outputs = self._adapted_outputs(model, batch, steps, pool is not None)
                losses.append(cross_entropy(outputs, batch.query_y))
                accuracies.append(100 * accuracy(outputs, batch.query_y))
        each = torch.cat(accuracies)
        found = {
            "accuracy": each.mean().item(),
            "accuracy_standard_error": (each.std() / len(each) ** 0.5).item() if len(each) > 1 else float("nan"),
            "loss": torch.cat(losses).double().mean().item(),
        }
        if len(seeds) > 1:
            means = each.double().reshape(len(seeds), episodes).mean(1)
            found["accuracy_half_interval"] = (
                student_t.ppf(0.975, len(seeds) - 1) * means.std() / len(seeds) ** 0.5
            ).item()
        return Evaluation(found)

    def _features_of(self, model: Model, split: str) -> Pool | None:
        """The pool with readout features for images, each computed once, where outputs depend on them alone."""
        config, pool = self.config, self.pools[split]
        if config.adaptation.parameters != "readout" or config.episodes != "vectorised":
            return None
        parts = []
        for index in torch.arange(pool.classes * pool.images_per_class, device=pool.pixels.device).split(
            FEATURES_AT_ONCE
        ):
            features = model.readout_features(pool.gather(index, self.dtype))
            if features is None:
                return None
            parts.append(features)
        return Pool(torch.cat(parts).reshape(pool.classes, pool.images_per_class, -1), pool.name)

    def _adapted_outputs(self, model: Model, batch: Episodes, steps: int, of_features: bool) -> Tensor:
        """Outputs at the query; of_features: whether the batch holds readout features for images."""
        if not of_features:
            return self._adapted(model, batch, steps)(batch.query_x)
        with torch.no_grad():
            cotangent = lambda outputs: cross_entropy_cotangent(outputs, batch.support_y)
            return model.adapted_readout(batch.support_x, cotangent, self.config.adaptation.rate, steps)(batch.query_x)

    def held_out(self) -> Tensor:
        """Images of validation classes, at most HELD_OUT, spread over them."""
        pool = self.pools["validation"]
        total = pool.classes * pool.images_per_class
        index = torch.linspace(0, total - 1, min(total, HELD_OUT)).round().long()
        return pool.gather(index.to(pool.pixels.device), self.dtype)

    def probe(self) -> Probe:
        """All images of a few test classes, the same for every model and seed."""
        pool = self.pools["test"]
        classes = torch.linspace(0, pool.classes - 1, self.config.probe_classes).round().long()
        index = classes[:, None] * pool.images_per_class + torch.arange(pool.images_per_class)
        x = pool.gather(index.flatten().to(pool.pixels.device), self.dtype)
        labels = torch.arange(len(classes)).repeat_interleave(pool.images_per_class)
        return Probe(x, labels, tuple(self.class_names[c] for c in classes))

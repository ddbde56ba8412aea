"""MAML as a task: the inner loop is the model's adaptation, the outer loop the trainer's (TP4 section 9)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from infwidth.config import key
from infwidth.errors import DataError
from infwidth.models.contract import Model, Update
from infwidth.seeding import derived_seed, stream
from infwidth.tasks.contract import Probe, Task
from infwidth.tasks.losses import accuracy, cross_entropy, cross_entropy_cotangent
from infwidth.tasks.maml.episodes import Episodes, Pool, Shape, vectorised


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """The inner loop: steps of SGD at a rate on the mean support loss; order of the meta-gradient through them."""

    rate: float = key(above=0)
    steps: int = key(at_least=1)
    test_steps: int = key(at_least=1)
    order: Literal["first", "second"] = "first"


@dataclass(frozen=True, kw_only=True)
class MAMLConfig:
    """conf/task/maml_omniglot.yaml"""

    name: Literal["maml_omniglot"]
    ways: int = key(at_least=2)
    shots: int = key(at_least=1)
    queries: int = key(at_least=1)
    meta_batch: int = key(at_least=1)
    steps_per_epoch: int = key(at_least=1)
    evaluation_episodes: int = key(at_least=1)
    adaptation: AdaptationConfig
    reduction: Literal["sum", "mean"] = "sum"
    episodes: Literal["vectorised", "learn2learn"] = "vectorised"
    probe_classes: int = key(at_least=2, default=10)


EVALUATED_AT_ONCE = 160
"""Episodes adapted together in evaluation: enough for full-size products, little memory."""


class MAML(Task):
    """N-way K-shot episodes from pools of images, one per split ('train', 'validation', 'test').

    Raises DataError if a split cannot supply such episodes.
    """

    def __init__(self, config: MAMLConfig, pools: Mapping[str, Pool], class_names: tuple[str, ...], seed: int, dtype: torch.dtype = torch.float32):
        self.config, self.pools, self.class_names, self.seed, self.dtype = config, pools, class_names, seed, dtype
        self.shape = Shape(config.ways, config.shots, config.queries)
        for pool in pools.values():
            self.shape.check(pool)
        if config.probe_classes > pools["test"].classes:
            raise DataError(f"task.probe_classes is {config.probe_classes}, but the test split has {pools['test'].classes} classes; lower it.")
        self.inputs, self.outputs = pools["train"].pixels.shape[-1], config.ways
        self.steps_per_epoch = config.steps_per_epoch

    def batches(self, epoch: int, start: int = 0) -> Iterator[Episodes]:
        episodes = self.config.steps_per_epoch * self.config.meta_batch
        return self._episodes("train", episodes, self.config.meta_batch, (epoch,), start)

    def _episodes(self, split: str, episodes: int, batch: int, names: tuple[int, ...] = (), start: int = 0) -> Iterator[Episodes]:
        pool, names = self.pools[split], (self.seed, split, *names)
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

        return model.adapted(batch.support_x, cotangent, self.config.adaptation.rate, steps, second_order)

    def evaluate(self, model: Model, split: str) -> dict[str, float]:
        """Query accuracy in per cent after adaptation, its standard error over episodes, and the query loss.

        The episodes of a split are the same at every call of a run, so that checkpoints are compared on equal terms.
        """
        steps = self.config.adaptation.test_steps if split == "test" else self.config.adaptation.steps
        losses, accuracies = [], []
        for batch in self._episodes(split, self.config.evaluation_episodes, EVALUATED_AT_ONCE):
            outputs = self._adapted(model, batch, steps)(batch.query_x)
            losses.append(cross_entropy(outputs, batch.query_y))
            accuracies.append(100 * accuracy(outputs, batch.query_y))
        each = torch.cat(accuracies)
        return {
            "accuracy": each.mean().item(),
            "accuracy_standard_error": (each.std() / len(each) ** 0.5).item() if len(each) > 1 else float("nan"),
            "loss": torch.cat(losses).double().mean().item(),
        }

    def probe(self) -> Probe:
        """All images of a few test classes, the same for every model and seed."""
        pool = self.pools["test"]
        classes = torch.linspace(0, pool.classes - 1, self.config.probe_classes).round().long()
        index = classes[:, None] * pool.images_per_class + torch.arange(pool.images_per_class)
        x = pool.gather(index.flatten().to(pool.pixels.device), self.dtype)
        labels = torch.arange(len(classes)).repeat_interleave(pool.images_per_class)
        return Probe(x, labels, tuple(self.class_names[c] for c in classes))

"""MAML as a task: the inner loop is the model's adaptation, the outer loop the trainer's (TP4 section 9)."""

from collections.abc import Callable, Iterator, Mapping

import torch
from scipy.stats import t as student_t
from torch import Tensor

from infwidth.errors import ConfigError, DataError
from infwidth.models.contract import Adapted, Model
from infwidth.models.cost import EVALUATION, TRAINING, Footprint
from infwidth.models.cost import Shape as Asked
from infwidth.models.updates import Update
from infwidth.seeding import derived_seed, stream
from infwidth.tasks.contract import Evaluation, Probe, Task, bytes_of
from infwidth.tasks.losses import accuracy, cross_entropy, cross_entropy_cotangent, mean_accuracy
from infwidth.tasks.maml.config import MAMLConfig
from infwidth.tasks.maml.episodes import Episodes, Pool, Shape, vectorised

EVALUATED_AT_ONCE = 160
"""Episodes adapted together in evaluation: enough for full-size products, little memory."""

FEATURES_AT_ONCE = 500
"""Images whose features are computed together."""

HELD_OUT = 1000
"""Images on which a model may look at what it does to itself."""


DRAWING = 5 * 8
"""Bytes for each image of an episode that is drawn: its index, and what that comes from."""

DRAWN_TOGETHER = 10_000_000
"""Episodes of an epoch or an evaluation, whose indices are drawn at once, at most: some gigabytes."""


class MAML(Task):
    """N-way K-shot episodes from pools of images, one per split ('train', 'validation', 'test').

    Raises DataError if a split cannot supply such episodes, ConfigError for more of them than can be drawn.
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
        self._require_few_episodes()
        if config.probe_classes > pools["test"].classes:
            raise DataError(
                f"task.probe_classes is {config.probe_classes}, but the test split has {pools['test'].classes} "
                "classes; lower it."
            )
        self.inputs, self.outputs = pools["train"].pixels.shape[-1], config.ways
        self.steps_per_epoch = config.steps_per_epoch
        self.examples, self.evaluated = pools["train"].images, pools["validation"].images
        self.batch = config.meta_batch * config.ways * self._examples_of_a_class()
        self.resident = bytes_of(pool.pixels for pool in pools.values())
        self._set_what_is_evaluated_together()

    def _examples_of_a_class(self) -> int:
        """Examples of each class that the meta-gradient is taken at: at second order the support, too."""
        return self.config.queries + (self.config.shots if self.config.adaptation.order == "second" else 0)

    def _set_what_is_evaluated_together(self) -> None:
        if self._keeps_features:
            self.at_once = FEATURES_AT_ONCE
            return
        config = self.config
        self.at_once = EVALUATED_AT_ONCE * config.ways * max(config.shots, config.queries)
        if config.adaptation.adapting == "readout":
            self.at_once = EVALUATED_AT_ONCE * config.ways * (config.shots + config.queries)
        else:
            self.episodes, self.evaluated_episodes = config.meta_batch, EVALUATED_AT_ONCE

    @property
    def _keeps_features(self) -> bool:
        """Whether an evaluation takes the features of every image once, of a model that lets it."""
        return self.config.adaptation.adapting == "readout" and self.config.episodes == "vectorised"

    def takes(self, model: Footprint, shape: Asked) -> Mapping[str, int]:
        """The indices of the episodes that are drawn together; batches of images; features, in parts and whole."""
        config, item = self.config, self.dtype.itemsize
        images = config.ways * (config.shots + config.queries)
        trained = config.steps_per_epoch * config.meta_batch
        evaluated = max(config.evaluation_episodes, config.test_episodes or 0)
        batches = [episodes * images * self.inputs * item for episodes in (config.meta_batch, EVALUATED_AT_ONCE)]
        found = {TRAINING: DRAWING * trained * images + 2 * batches[0], EVALUATION: DRAWING * evaluated * images}
        if self._keeps_features:
            most = max(self.pools[split].images for split in ("validation", "test"))
            found[EVALUATION] += (2 * most + 3 * EVALUATED_AT_ONCE * images) * model.features * item
        else:
            found[EVALUATION] += 2 * batches[1]
        return found

    def _require_few_episodes(self) -> None:
        config = self.config
        wanted = {
            "task.steps_per_epoch * task.meta_batch": config.steps_per_epoch * config.meta_batch,
            "task.evaluation_episodes": config.evaluation_episodes,
            "task.test_episodes": config.test_episodes or 0,
        }
        for key, episodes in wanted.items():
            if episodes > DRAWN_TOGETHER:
                raise ConfigError(
                    f"{key} is {episodes}, and so many episodes cannot be drawn together; make it at most "
                    f"{DRAWN_TOGETHER}."
                )

    def batches(self, epoch: int, start: int = 0) -> Iterator[Episodes]:
        episodes = self.config.steps_per_epoch * self.config.meta_batch
        return self._episodes("train", episodes, self.config.meta_batch, (epoch,), start)

    def _episodes(
        self, split: str, episodes: int, batch: int, names: tuple[int, ...], start: int = 0, pool: Pool | None = None
    ) -> Iterator[Episodes]:
        """Episodes in batches, from ``start`` on; names: of their random stream; pool: in place of the split's."""
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

    def _adapted(self, model: Model, batch: Episodes, steps: int, second_order: bool = False) -> Adapted:
        adaptation = self.config.adaptation
        return model.adapted(
            batch.support_x, _support_cotangent(batch), adaptation.rate, steps, second_order, adaptation.adapting
        )

    def evaluate(self, model: Model, split: str) -> Evaluation:
        """Query accuracy in per cent after adaptation, its standard error over episodes, and the query loss.

        The episodes of a split are the same at every call of a run, so that checkpoints are compared on equal terms.
        With test_seeds the test has so many sets of test_episodes, and half the 95 % interval of the mean over these is
        reported.
        """
        config, testing = self.config, split == "test"
        steps = config.adaptation.test_steps if testing else config.adaptation.steps
        episodes = (config.test_episodes if testing else None) or config.evaluation_episodes
        sets = [(seed,) for seed in range(config.test_seeds)] if testing and config.test_seeds else [()]
        pool, outputs_of = self._evaluated_by(model, split, steps)
        losses, accuracies = [], []
        for names in sets:
            for batch in self._episodes(split, episodes, EVALUATED_AT_ONCE, names, pool=pool):
                outputs = outputs_of(batch)
                losses.append(cross_entropy(outputs, batch.query_y))
                accuracies.append(100 * accuracy(outputs, batch.query_y))
        each = torch.cat(accuracies)
        found = {**mean_accuracy(each), "loss": torch.cat(losses).double().mean().item()}
        if len(sets) > 1:
            found["accuracy_half_interval"] = half_interval(each.reshape(len(sets), episodes).mean(1))
        return Evaluation(found)

    def _evaluated_by(self, model: Model, split: str, steps: int) -> tuple[Pool, Callable[[Episodes], Tensor]]:
        """What episodes are drawn from, and how their adapted outputs at the queries come about.

        From the split's images by adaptation, or, where the outputs depend on features alone that stay as they are,
        from each image's features, computed once.
        """
        rate = self.config.adaptation.rate
        features = self._features_of(model, split)
        if features is None:
            return self.pools[split], lambda batch: self._adapted(model, batch, steps)(batch.query_x)

        @torch.no_grad()
        def outputs_of(batch: Episodes) -> Tensor:
            adapted = model.adapted_readout(batch.support_x, _support_cotangent(batch), rate, steps)
            return adapted(batch.query_x)

        return features, outputs_of

    def _features_of(self, model: Model, split: str) -> Pool | None:
        """The pool with readout features for images, each computed once, where outputs depend on them alone."""
        pool = self.pools[split]
        if not self._keeps_features:
            return None
        parts = []
        for index in torch.arange(pool.images, device=pool.pixels.device).split(FEATURES_AT_ONCE):
            features = model.readout_features(pool.gather(index, self.dtype))
            if features is None:
                return None
            parts.append(features)
        return Pool(torch.cat(parts).reshape(pool.classes, pool.images_per_class, -1), pool.name)

    def held_out(self) -> Tensor:
        """Images of validation classes, at most HELD_OUT, spread over them."""
        pool = self.pools["validation"]
        index = torch.linspace(0, pool.images - 1, min(pool.images, HELD_OUT)).round().long()
        return pool.gather(index.to(pool.pixels.device), self.dtype)

    def probe(self) -> Probe:
        """All images of a few test classes, the same for every model and seed."""
        pool = self.pools["test"]
        classes = torch.linspace(0, pool.classes - 1, self.config.probe_classes).round().long()
        index = classes[:, None] * pool.images_per_class + torch.arange(pool.images_per_class)
        x = pool.gather(index.flatten().to(pool.pixels.device), self.dtype)
        labels = torch.arange(len(classes)).repeat_interleave(pool.images_per_class)
        return Probe(x, labels, tuple(self.class_names[c] for c in classes))


def _support_cotangent(batch: Episodes) -> Callable[[Tensor], Tensor]:
    """The derivative of each episode's loss by the outputs at its support."""
    return lambda outputs: cross_entropy_cotangent(outputs, batch.support_y)


def half_interval(means: Tensor) -> float:
    """Half the 95 % interval of the mean of (n,) independent means, n at least 2."""
    return (student_t.ppf(0.975, len(means) - 1) * means.std() / len(means) ** 0.5).item()

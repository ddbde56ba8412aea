"""Classification of images: shuffled minibatches, cross-entropy, accuracy; all images resident where training runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from infwidth import ridge
from infwidth.config import key
from infwidth.data.prepared import Prepared
from infwidth.errors import ConfigError
from infwidth.models.contract import Model
from infwidth.models.cost import CONCLUSION, EVALUATION, Footprint, Shape
from infwidth.models.updates import Update
from infwidth.seeding import stream
from infwidth.tasks.contract import Evaluation, Probe, Task, bytes_of
from infwidth.tasks.description import Asks, TaskConfig
from infwidth.tasks.losses import accuracy, cross_entropy, cross_entropy_cotangent, mean_accuracy

EVALUATED_AT_ONCE = 1000

READ_AT_ONCE = 50
"""Images that are read, and made numbers of, together."""

HELD_OUT = 1000
"""Images on which a model may look at what it does to itself."""


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(TaskConfig):
    """conf/task/cifar10.yaml"""

    name: Literal["cifar10"] = "cifar10"
    batch: int = key(at_least=1, default=32)
    images: Literal["all", "subset"] = "subset"
    subset: int = key(at_least=1, default=45000)
    validation_images: int = key(at_least=0, default=5000)
    mean: tuple[float, ...] = (0.49137255, 0.48235294, 0.44666667)
    std: tuple[float, ...] = key(above=0, default=(0.24705882, 0.24352941, 0.26156863))
    probe_images: int = key(at_least=1, default=30)
    feature_regulariser: float | None = key(above=0, default=None)

    def asks(self) -> Asks:
        return Asks(training_set=True)

    def shortened(self) -> dict[str, Any]:
        """Keys of a run of some dozen steps that takes every path of a whole one."""
        images = 640 if self.images == "all" else min(self.subset, 640)
        validation = min(self.validation_images, 160)
        return {"task.images": "subset", "task.subset": images, "task.validation_images": validation}

    def idle(self) -> tuple[str, ...]:
        """Keys without effect at these values of the others."""
        return ("subset",) if self.images == "all" else ()


class Images(Task):
    """x (n, d) normalised per channel, y (n,) int64 for 'train', 'validation' and 'test'.

    One order of the training images, the same for every seed, has the subset at its beginning and the validation
    images at its end, so that subsets are nested and shared by all models.
    """

    def __init__(
        self,
        config: ImagesConfig,
        data: Prepared,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.config, self.class_names, self.seed = config, tuple(data.manifest["class_names"]), seed
        self.device, self.dtype = device, dtype
        arrays = data.arrays
        wanted = self._wanted(len(arrays["train_y"]))
        self._require_channels(arrays["train_x"].shape[1])
        order = torch.randperm(len(arrays["train_y"]), generator=stream("split"))
        parts = {
            "train": ("train", order[:wanted]),
            "validation": ("train", order[len(order) - config.validation_images :]),
            "test": ("test", torch.arange(len(arrays["test_y"]))),
        }
        self.x, self.y = {}, {}
        for split, (source, index) in parts.items():
            self.x[split] = self._normalised(arrays[f"{source}_x"], index)
            self.y[split] = torch.from_numpy(arrays[f"{source}_y"][index.numpy()]).to(device).long()
            data.give_back()
        self.inputs, self.outputs = self.x["train"].shape[1], len(self.class_names)
        self.steps_per_epoch = -(-wanted // config.batch)
        self.selects = config.validation_images > 0
        self.examples, self.batch = wanted, min(wanted, config.batch)
        self.evaluated = len(self.y["validation"] if self.selects else self.y["test"])
        self.at_once = min(EVALUATED_AT_ONCE, max(len(self.y[split]) for split in ("validation", "test")))
        self.resident = bytes_of([*self.x.values(), *self.y.values()])

    def _wanted(self, total: int) -> int:
        """How many of all training images are trained on. ConfigError if there are not so many."""
        config = self.config
        wanted = total - config.validation_images if config.images == "all" else config.subset
        if wanted < 1 or wanted + config.validation_images > total:
            asked = f"task.subset + task.validation_images is {config.subset} + {config.validation_images}"
            if config.images == "all":
                asked = f"task.validation_images is {config.validation_images}"
            raise ConfigError(f"{asked}, but the data has {total} training images; make it fewer.")
        return wanted

    def _require_channels(self, numbers: int) -> None:
        """ConfigError if images of so many numbers do not have the channels of task.mean and task.std."""
        mean, std = len(self.config.mean), len(self.config.std)
        if not mean or mean != std or numbers % mean:
            raise ConfigError(
                f"task.mean and task.std have {mean} and {std} channels, which images of {numbers} numbers do not; "
                "give one for each channel."
            )

    def _normalised(self, pixels: np.ndarray, index: Tensor) -> Tensor:
        """Some of all uint8 images (n, d), channels first: (x / 255 - mean) / std by channel, a few at a time."""
        numbers, channels = pixels.shape[1], len(self.config.mean)
        mean, std = (
            torch.tensor(v, dtype=self.dtype, device=self.device)[:, None] for v in (self.config.mean, self.config.std)
        )
        found = torch.empty(len(index), channels, numbers // channels, dtype=self.dtype, device=self.device)
        for some, x in zip(index.split(READ_AT_ONCE), found.split(READ_AT_ONCE), strict=True):
            read = torch.from_numpy(pixels[some.numpy()]).to(self.device, self.dtype)
            x.copy_(read.div_(255).view(x.shape).sub_(mean).div_(std))
        return found.flatten(1)

    def batches(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = self.x["train"], self.y["train"]
        order = torch.randperm(len(y), generator=stream(self.seed, "train", epoch)).to(y.device)
        for index in order.split(self.config.batch)[start:]:
            yield x[index], y[index]

    def training_set(self) -> tuple[Tensor, Tensor]:
        return self.x["train"], self.y["train"]

    def step(self, model: Model, batch: tuple[Tensor, Tensor]) -> tuple[Update, dict[str, Tensor]]:
        x, y = batch
        outputs, pullback = model.linearized(x)
        loss = cross_entropy(outputs, y)
        return pullback(cross_entropy_cotangent(outputs, y)), {"loss": loss, "accuracy": 100 * accuracy(outputs, y)}

    def evaluate(self, model: Model, split: str) -> Evaluation:
        """Accuracy in per cent, its standard error, and the loss; the outputs (n, k) themselves in float32.

        Without validation images both splits are the test, and nothing is selected.
        """
        split = split if self.selects else "test"
        correct, losses, found = [], [], []
        for x, y in zip(self.x[split].split(EVALUATED_AT_ONCE), self.y[split].split(EVALUATED_AT_ONCE), strict=True):
            with torch.no_grad():
                outputs = model(x)
            correct.append(outputs.argmax(1) == y)
            losses.append(torch.nn.functional.cross_entropy(outputs, y, reduction="none"))
            found.append(outputs.float().cpu())
        each = 100 * torch.cat(correct).double()
        metrics = {**mean_accuracy(each), "loss": torch.cat(losses).double().mean().item()}
        return Evaluation(metrics, {"outputs": torch.cat(found).numpy()})

    def conclude(self, model: Model) -> dict[str, float]:
        """Where it is asked for, the accuracy of regression with the kernel of the last hidden representation."""
        if self.config.feature_regulariser is None:
            return {}
        train, test = (model.unit_features(self.x[split]) for split in ("train", "test"))
        if not model.ranks.first:
            return {}  # it has taken part in the features, and the regression is one rank's
        regulariser = self.config.feature_regulariser
        outputs = ridge.classify(model.feature_kernel, train, self.y["train"], test, self.outputs, regulariser)
        return {"feature_regression_accuracy": 100 * (outputs.argmax(1) == self.y["test"]).double().mean().item()}

    def takes(self, model: Footprint, shape: Shape) -> Mapping[str, int]:
        """The regression on features: these, in parts and whole, then beside one matrix of the training images."""
        if self.config.feature_regulariser is None:
            return {}
        test = len(self.y["test"])
        features = model.features * (shape.examples + test) * self.dtype.itemsize
        joined = model.features * max(shape.examples, test) * self.dtype.itemsize
        passes = model.phases.get(EVALUATION, 0)
        return {CONCLUSION: features + max(joined + passes, ridge.memory(shape.examples, self.dtype))}

    def spared_by(self, phase: str) -> str:
        return "task.feature_regulariser=null" if phase == CONCLUSION else ""

    def held_out(self) -> Tensor:
        """The first validation images, or, without any, test images: nothing is chosen by what is measured on them."""
        split = "validation" if self.selects else "test"
        return self.x[split][:HELD_OUT]

    def probe(self) -> Probe:
        """The first test images of each class."""
        y = self.y["test"].cpu()
        index = torch.cat([(y == c).nonzero().flatten()[: self.config.probe_images] for c in range(self.outputs)])
        return Probe(self.x["test"][index.to(self.x["test"].device)], y[index], self.class_names)

"""A task of one's own: is the class of an image, such as the digit on it, even or odd?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from infwidth.config import key
from infwidth.data.prepared import Prepared
from infwidth.models.contract import Model
from infwidth.models.updates import Update
from infwidth.seeding import stream
from infwidth.tasks.contract import Evaluation, Probe, Task
from infwidth.tasks.description import Description, TaskConfig
from infwidth.tasks.losses import accuracy, cross_entropy, cross_entropy_cotangent


@dataclass(frozen=True, kw_only=True)
class ParityConfig(TaskConfig):
    """conf/task/parity.yaml"""

    name: Literal["tests.toys.parity"] = "tests.toys.parity"
    batch: int = key(at_least=1, default=32)
    validation_images: int = key(at_least=1, default=200)


class Parity(Task):
    """x (n, d) between 0 and 1, y (n,) 0 for even classes and 1 for odd ones; of each split, by its name."""

    def __init__(self, config: ParityConfig, x: dict[str, Tensor], y: dict[str, Tensor], seed: int):
        self.config, self.x, self.y, self.seed = config, x, y, seed
        self.inputs, self.outputs = x["train"].shape[1], 2
        self.steps_per_epoch = -(-len(y["train"]) // config.batch)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tensor]:
        order = torch.randperm(len(self.y["train"]), generator=stream(self.seed, "train", epoch))
        return iter(order.to(self.y["train"].device).split(self.config.batch)[start:])

    def step(self, model: Model, batch: Tensor) -> tuple[Update, dict[str, Tensor]]:
        outputs, pullback = model.linearized(self.x["train"][batch])
        labels = self.y["train"][batch]
        return pullback(cross_entropy_cotangent(outputs, labels)), {"loss": cross_entropy(outputs, labels)}

    @torch.no_grad()
    def evaluate(self, model: Model, split: str) -> Evaluation:
        outputs, labels = model(self.x[split]), self.y[split]
        right = 100 * accuracy(outputs, labels)
        return Evaluation({"loss": cross_entropy(outputs, labels).item(), "accuracy": right.item()})

    def probe(self) -> Probe:
        return Probe(self.x["test"][:100], self.y["test"][:100].cpu(), ("even", "odd"))


def build(config: ParityConfig, data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> Parity:
    cut = len(data.arrays["train_y"]) - config.validation_images
    parts = {"train": slice(None, cut), "validation": slice(cut, None), "test": slice(None)}
    x, y = {}, {}
    for split, part in parts.items():
        source = "test" if split == "test" else "train"
        x[split] = torch.tensor(data.arrays[f"{source}_x"][part], device=device).to(dtype) / 255
        y[split] = torch.tensor(data.arrays[f"{source}_y"][part], device=device).long() % 2
    return Parity(config, x, y, seed)


TASK = Description("tests.toys.parity", ParityConfig, "images", build)

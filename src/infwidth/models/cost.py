"""What a run asks of its model, and what it takes: sizes, memory, work."""

from dataclasses import dataclass

import torch

from infwidth.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Shape:
    """What a run asks of its model.

    The dimensions of inputs and outputs, and whether inputs are bags of indices; how many examples there are to train
    on, how many of them a step takes, how many steps there are, how many examples are evaluated in all, and how many
    steps an epoch has. ranks: the processes that have a share of the model each, where it splits; what it takes is then
    what this one's share takes.
    """

    inputs: int
    outputs: int
    bags: bool = False
    examples: int = 0
    batch: int = 0
    steps: int = 0
    evaluated: int = 0
    per_epoch: int = 0
    ranks: Ranks = ALONE


@dataclass(frozen=True)
class Sizes:
    """A typical batch of bags.

    How many there are, how many indices they have in all, how many distinct ones, how many distinct outputs are asked
    for, and how many of these of every bag.
    """

    bags: float
    members: float
    words: float
    asked: float
    shared: float


@dataclass(frozen=True)
class Work:
    """What training takes.

    Floating-point operations in matrix products, bytes moved, steps, Gaussian expectations V and V', and the sizes
    (n, k, m) of a typical product, by which the rate of products is measured.
    """

    flops: float
    bytes: float
    steps: int = 1
    expectations: float = 0.0
    product: tuple[int, int, int] = (256, 4096, 128)

    def __mul__(self, times: int) -> "Work":
        return Work(self.flops * times, self.bytes * times, self.steps * times, self.expectations * times, self.product)


def of_dense_network(weights: int, shape: Shape, dtype: torch.dtype) -> Work | None:
    """A network of so many weights, trained by steps that read and write all of them."""
    if not shape.batch:
        return None
    flops = weights * (6 * shape.batch * shape.steps + 2 * shape.evaluated)
    return Work(flops, 5 * weights * dtype.itemsize * shape.steps, shape.steps, 0, (shape.batch, 2048, 2048))

"""What a run asks of its model, and what it takes: sizes, memory, work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from infwidth.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Shape:
    """What a run asks of its model.

    The dimensions of inputs and outputs, and whether inputs are bags of indices; how many examples there are to train
    on, how many of them a step takes, how many steps there are, how many examples are evaluated in all, and how many
    steps an epoch has. at_once: how many examples are evaluated together; episodes, evaluated_episodes: to how many
    episodes hidden layers adapt together, in a step and in an evaluation. ranks: the processes that have a share of the
    model each, where it splits; what it takes is then what this one's share takes.
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
    at_once: int = 0
    episodes: int = 0
    evaluated_episodes: int = 0


START, TRAINING, PROJECTION, FIT = "its start", "training", "the projection of rows", "the fit"
EVALUATION, CONCLUSION = "the evaluation", "the conclusion"
"""What a run does one after the other, in words."""


@dataclass(frozen=True)
class Footprint:
    """What a model takes of the memory, in bytes, before any of it is allocated.

    held: what it keeps from one step to the next when it is largest, its state included; snapshot: a copy of the best
    state so far; phases: what it takes besides while this or that is done; features: how many numbers a hidden
    representation has, 0 where it is known by its kernel alone.
    """

    held: int
    snapshot: int
    phases: Mapping[str, int] = field(default_factory=dict)
    features: int = 0


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


FRAGMENTED, LARGE = 4, 1 << 25
"""How many times its size the memory takes that a gradient is made in anew at every step: the C library's holds on to
places between, in which the next one has no room (measured: 1.5 to 4 times). From so many bytes on it is the size."""


def footprint_of_network(layers: Sequence[int], state: int, width: int, shape: Shape, dtype: torch.dtype) -> Footprint:
    """A multilayer perceptron with so many weights in each layer and a state of so many bytes.

    A step takes a gradient of each weight. An episode that hidden layers adapt to has weights and gradients of its own,
    and the weights that become of these.
    """
    size = dtype.itemsize
    gradients = sum(n * size * (FRAGMENTED if n * size < LARGE else 1) for n in layers)
    episode = 3 * sum(layers) * size
    kept = (shape.inputs + (len(layers) + 3) * width) * size  # activations, and what the backward pass makes of them
    phases = {
        TRAINING: gradients + shape.batch * kept + shape.episodes * episode,
        EVALUATION: shape.at_once * 4 * width * size + shape.evaluated_episodes * episode,
    }
    return Footprint(state, state, phases, width)


def of_dense_network(weights: int, shape: Shape, dtype: torch.dtype) -> Work | None:
    """A network of so many weights, trained by steps that read and write all of them."""
    if not shape.batch:
        return None
    flops = weights * (6 * shape.batch * shape.steps + 2 * shape.evaluated)
    return Work(flops, 5 * weights * dtype.itemsize * shape.steps, shape.steps, 0, (shape.batch, 2048, 2048))

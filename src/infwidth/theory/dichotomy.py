"""The Dynamical Dichotomy, measured: features move (r = 0) or training is kernel gradient descent (r > 0), never both (TP4 section 3).

For a network after some steps of SGD, two numbers. How far the feature kernel x^L . x^L / n has moved, relative to itself. And how far f is
from kernel gradient descent with the tangent kernel of the initial network, relative to how far f has moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from infwidth.parametrization import ABC
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.theory.tracked import Tracked, draw, squared_loss


@dataclass(frozen=True)
class Experiment:
    widths: tuple[int, ...] = (64, 256, 1024, 4096)
    seeds: int = 10
    steps: int = 20
    rate: float = 0.5
    inputs: int = 8
    examples: int = 6


def tangent_kernel(net: Tracked, x: Tensor) -> Tensor:
    """The kernel (B, B) of one step of SGD at scalar outputs: -Delta f for a cotangent e_j, to first order."""
    hs, xs, _ = net.forward(x)
    activations, at_h = [x, *xs], torch.ones(len(x), 1, dtype=x.dtype)
    kernel = torch.zeros(len(x), len(x), dtype=x.dtype)
    for l in range(net.depth + 1, 0, -1):
        kernel += net.step_size[l - 1] * (activations[l - 1] @ activations[l - 1].mT) * (at_h @ at_h.mT)
        if l > 1:
            at_h = net.initial[l - 1] * (at_h @ net.omegas[l - 1]) * (hs[l - 2] > 0)
    return kernel


def measured(abc: ABC, width: int, seed: int, experiment: Experiment) -> tuple[float, float]:
    """(relative movement of the feature kernel, relative distance of f from kernel gradient descent)."""
    dtype, g = torch.float64, stream("dichotomy")
    x = torch.randn(experiment.examples, experiment.inputs, generator=g, dtype=dtype) / experiment.inputs**0.5
    targets = torch.randn(experiment.examples, 1, generator=g, dtype=dtype).sign()
    loss = squared_loss(targets)
    net = Tracked(draw(width, experiment.inputs, 1, abc.depth, stream("dichotomy", abc.depth, width, seed), dtype), width, abc, experiment.rate)
    _, xs, f = net.forward(x)
    before, kernel, start = xs[-1] @ xs[-1].mT, tangent_kernel(net, x), f
    linear = f
    for _ in range(experiment.steps):
        net.step(x, loss)
        linear = linear - kernel @ loss(linear)
    _, xs, f = net.forward(x)
    after = xs[-1] @ xs[-1].mT
    return ((after - before).norm() / before.norm()).item(), ((f - linear).norm() / (f - start).norm()).item()


def table(abcs: Mapping[str, ABC], experiment: Experiment) -> pd.DataFrame:
    """A line for every parametrization and width: r, means over seeds of both numbers."""
    lines = []
    with bar(total=len(abcs) * len(experiment.widths) * experiment.seeds, desc="dichotomy", unit="network") as done:
        for name, abc in abcs.items():
            for width in experiment.widths:
                pairs = []
                for seed in range(experiment.seeds):
                    pairs.append(measured(abc, width, seed, experiment))
                    done.update()
                moved, apart = torch.tensor(pairs, dtype=torch.float64).mean(0).tolist()
                lines.append({"parametrization": name, "depth": abc.depth, "r": float(abc.r()), "width": width, "kernel_moves": moved, "from_kernel_descent": apart})
    return pd.DataFrame(lines)

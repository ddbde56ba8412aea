"""The Dynamical Dichotomy, measured (TP4 section 3): features move (r = 0), or training is kernel descent (r > 0).

For a network after some steps of SGD, three numbers. How far the feature kernel x^L . x^L / n has moved, relative to
itself. How far f is from kernel gradient descent with the tangent kernel of the initial network, relative to how far f
has moved. And, for linear networks of one hidden layer, how far f is from the mu-limit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from infwidth.config import key
from infwidth.models.linear import mu_limit
from infwidth.parametrization import ABC
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.theory import descent
from infwidth.theory.descent import Loss
from infwidth.theory.tracked import Tracked, draw


@dataclass(frozen=True, kw_only=True)
class Dichotomy:
    """depth: of the ReLU networks (the linear ones have one hidden layer).

    steps: of SGD at rate eta, before the numbers are taken.
    """

    depth: int = key(at_least=1)
    widths: tuple[int, ...] = key(at_least=1)
    seeds: int = key(at_least=1)
    steps: int = key(at_least=1)
    rate: float = key(above=0)
    inputs: int = key(at_least=1)
    examples: int = key(at_least=1)


def tangent_kernel(net: Tracked, x: Tensor) -> Tensor:
    """The kernel (B, B) of one step of SGD at scalar outputs: -Delta f for a cotangent e_j, to first order."""
    hs, xs, _ = net.forward(x)
    activations, at_h = [x, *xs], torch.ones(len(x), 1, dtype=x.dtype)
    kernel = torch.zeros(len(x), len(x), dtype=x.dtype)
    for l in range(net.depth + 1, 0, -1):
        kernel += net.step_size[l - 1] * (activations[l - 1] @ activations[l - 1].mT) * (at_h @ at_h.mT)
        if l > 1:
            at_h = net.through(net.initial[l - 1] * (at_h @ net.omegas[l - 1]), hs[l - 2])
    return kernel


def of_mu_limit(x: Tensor, loss: Loss, settings: Dichotomy) -> Tensor:
    """f (B, 1) of the mu-limit of one linear hidden layer after the same training."""
    limit = mu_limit(x.shape[1], 1, 1.0, 1.0, alpha=0.0, dtype=x.dtype)
    for _ in range(settings.steps):
        descent.step(limit, x, loss, settings.rate)
    return limit(x).detach()


@dataclass(frozen=True)
class Moved:
    """kernel: relative movement of the feature kernel; from_descent: relative distance of f from kernel descent.

    f (B, 1), and its movement (B, 1).
    """

    kernel: float
    from_descent: float
    f: Tensor
    movement: Tensor


def trained(net: Tracked, x: Tensor, loss: Loss, settings: Dichotomy) -> Moved:
    """Train the network, and kernel gradient descent beside it."""
    _, xs, start = net.forward(x)
    before, kernel, by_kernel = xs[-1] @ xs[-1].mT, tangent_kernel(net, x), start
    for _ in range(settings.steps):
        net.step(x, loss)
        by_kernel = by_kernel - kernel @ loss(by_kernel)
    _, xs, f = net.forward(x)
    after, movement = xs[-1] @ xs[-1].mT, f - start
    return Moved(_relative(after - before, before), _relative(f - by_kernel, movement), f, movement)


def _relative(difference: Tensor, whole: Tensor) -> float:
    return (difference.norm() / whole.norm()).item()


def table(abcs: Mapping[str, tuple[ABC | None, ABC]], settings: Dichotomy) -> pd.DataFrame:
    """A line for every parametrization, activation and width; means over seeds.

    abcs: by name, the parametrization at the depth of the ReLU networks (None if it has none) and at depth 1, where
    networks are linear and are also compared with the mu-limit. Columns: r, kernel_moves, from_kernel_descent,
    from_mu_limit (relative to how far f has moved; empty for ReLU networks).
    """
    s, g = settings, stream("dichotomy")
    x = torch.randn(s.examples, s.inputs, generator=g, dtype=torch.float64) / s.inputs**0.5
    loss = descent.squared_loss(torch.randn(s.examples, 1, generator=g, dtype=torch.float64).sign())
    limit, lines = of_mu_limit(x, loss, s), []
    cases = []
    for name, (deep, shallow) in abcs.items():
        if deep is not None:
            cases.append((name, deep, "relu"))
        cases.append((name, shallow, "linear"))
    with bar(total=len(cases) * len(s.widths) * s.seeds, desc="dichotomy", unit="network") as done:
        for name, abc, activation in cases:
            linear = activation == "linear"
            for width in s.widths:
                found = []
                for seed in range(s.seeds):
                    g = stream("dichotomy", abc.depth, width, seed)
                    omegas = draw(width, s.inputs, 1, abc.depth, g, torch.float64)
                    moved = trained(Tracked(omegas, width, abc, s.rate, linear), x, loss, s)
                    from_limit = _relative(moved.f - limit, moved.movement) if linear else math.nan
                    found.append((moved.kernel, moved.from_descent, from_limit))
                    done.update()
                kernel_moves, from_descent, from_limit = torch.tensor(found, dtype=torch.float64).mean(0).tolist()
                lines.append(
                    {
                        "parametrization": name,
                        "activation": activation,
                        "depth": abc.depth,
                        "r": float(abc.r()),
                        "width": width,
                        "kernel_moves": kernel_moves,
                        "from_kernel_descent": from_descent,
                        "from_mu_limit": from_limit,
                    }
                )
    return pd.DataFrame(lines)

"""Finite networks beside the limit that they are drawn from: their distance falls as width^(-1/2).

At initialisation and after training by full-batch SGD on synthetic data, for the mu-limit of one linear hidden layer
(TP4 section 5) and for the pi-limit of a deep ReLU network (PiLim). The distance is the root mean square of the
difference of outputs, over examples, outputs and draws.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from infwidth.config import key
from infwidth.models import linear, pi
from infwidth.models.contract import Model
from infwidth.models.mlp import Factors
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.theory import descent


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """recipe: convergence. marks: steps after which distances are taken; rate_mu, rate_pi: learning rates
    of the two models; depth, rank: of the pi-limit."""

    widths: tuple[int, ...] = key(at_least=1)
    draws: int = key(at_least=1)
    marks: tuple[int, ...] = key(at_least=0)
    rate_mu: float = key(above=0)
    rate_pi: float = key(above=0)
    depth: int = key(at_least=1)
    rank: int = key(at_least=1)
    inputs: int = key(at_least=1)
    outputs: int = key(at_least=1)
    examples: int = key(at_least=1)


@dataclass(frozen=True)
class Limit:
    """fresh: makes the limit as it starts; sampled: draws a network of a width from it; rate: of learning."""

    fresh: Callable[[], Model]
    sampled: Callable[[Model, int, torch.Generator], Model]
    rate: float


def _limits(s: Convergence) -> dict[str, Limit]:
    def mu() -> Model:
        return linear.mu_limit(s.inputs, s.outputs, sigma_u=1.0, sigma_v=1.0, dtype=torch.float64)

    def of_pi() -> Model:
        return pi.pi_limit(
            s.inputs,
            s.outputs,
            s.rank,
            s.depth,
            Factors(beta=0.5, beta_readout=0.5),
            readout_zero=False,
            readout_in_norm=True,
            generator=stream("convergence", "pi"),
            dtype=torch.float64,
        )

    return {"μ-limit": Limit(mu, linear.sampled, s.rate_mu), "π-limit": Limit(of_pi, pi.sampled, s.rate_pi)}


def _trained(net: Model, x: Tensor, targets: Tensor, rate: float, marks: tuple[int, ...]) -> Tensor:
    """Outputs (marks, B, k) of a network on the examples that it is trained on, after so many steps."""
    loss = descent.squared_loss(targets)
    before_step = [descent.step(net, x, loss, rate) for _ in range(max(marks) + 1)]
    return torch.stack([before_step[mark] for mark in marks])


def table(settings: Convergence) -> pd.DataFrame:
    """A line for every limit, number of steps and width: rms distance to the limit, which has itself moved so far."""
    s, g = settings, stream("convergence")
    x = torch.randn(s.examples, s.inputs, generator=g, dtype=torch.float64) / s.inputs**0.5
    targets = torch.randn(s.examples, s.outputs, generator=g, dtype=torch.float64).sign()
    limits, lines = _limits(s), []
    with bar(total=len(limits) * len(s.widths) * s.draws, desc="convergence", unit="network") as done:
        for name, limit in limits.items():
            of_limit = _trained(limit.fresh(), x, targets, limit.rate, s.marks)
            moved = (of_limit - of_limit[0]).square().mean((1, 2)).sqrt()
            for width in s.widths:
                squares = torch.zeros(len(s.marks), dtype=torch.float64)
                for i in range(s.draws):
                    net = limit.sampled(limit.fresh(), width, stream("convergence", name, width, i))
                    found = _trained(net, x, targets, limit.rate, s.marks)
                    squares += (found - of_limit).square().mean((1, 2)) / s.draws
                    done.update()
                for t, mark in enumerate(s.marks):
                    line = {"limit": name, "steps": mark, "width": width}
                    line |= {"distance": squares[t].sqrt().item(), "limit_moves": moved[t].item()}
                    lines.append(line)
    return pd.DataFrame(lines)

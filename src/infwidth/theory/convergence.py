"""Finite networks beside the limit that they are drawn from: their distance falls as width^(-1/2), at initialisation and after training.

For the mu-limit of one linear hidden layer (TP4 section 5) and for the pi-limit of a deep ReLU network (PiLim), trained by full-batch SGD
on synthetic data. The distance is the root mean square of the difference of outputs, over examples, outputs and draws.
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
from infwidth.models.pi import pi_limit
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.theory.tracked import squared_loss


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


def _trained(net: Model, x: Tensor, targets: Tensor, rate: float, marks: tuple[int, ...]) -> Tensor:
    """Outputs (marks, B, k) of a network on the examples that it is trained on."""
    loss, found = squared_loss(targets), []
    for step in range(max(marks) + 1):
        outputs, pullback = net.linearized(x)
        if step in marks:
            found.append(outputs.detach().clone())
        if step < max(marks):
            net.apply_update(pullback(loss(outputs.detach())), rate)
    return torch.stack(found)


def table(settings: Convergence) -> pd.DataFrame:
    """A line for every limit, number of steps and width: rms distance to the limit, and how far the limit itself has moved."""
    s, g = settings, stream("convergence")
    x = torch.randn(s.examples, s.inputs, generator=g, dtype=torch.float64) / s.inputs**0.5
    targets = torch.randn(s.examples, s.outputs, generator=g, dtype=torch.float64).sign()
    families: dict[str, tuple[Callable[[], Model], Callable, float]] = {
        "μ-limit": (
            lambda: linear.mu_limit(s.inputs, s.outputs, 1.0, 1.0, dtype=torch.float64),
            linear.sampled,
            s.rate_mu,
        ),
        "π-limit": (
            lambda: pi_limit(
                s.inputs,
                s.outputs,
                s.rank,
                s.depth,
                Factors(beta=0.5, beta_readout=0.5),
                False,
                True,
                stream("convergence", "pi"),
                torch.float64,
            ),
            pi.sampled,
            s.rate_pi,
        ),
    }
    lines = []
    with bar(total=len(families) * len(s.widths) * s.draws, desc="convergence", unit="network") as done:
        for name, (limit, sampled, rate) in families.items():
            of_limit = _trained(limit(), x, targets, rate, s.marks)
            moved = (of_limit - of_limit[0]).square().mean((1, 2)).sqrt()
            for width in s.widths:
                squares = torch.zeros(len(s.marks), dtype=torch.float64)
                for i in range(s.draws):
                    net = sampled(limit(), width, stream("convergence", name, width, i))
                    squares += (_trained(net, x, targets, rate, s.marks) - of_limit).square().mean((1, 2)) / s.draws
                    done.update()
                lines += [
                    {"limit": name, "steps": step, "width": width, "distance": squares[t].sqrt().item(), "limit_moves": moved[t].item()}
                    for t, step in enumerate(s.marks)
                ]  # fmt: skip
    return pd.DataFrame(lines)

"""Learning-rate transfer: in mu-P the best learning rate of a narrow network is that of a wide one.

In standard parametrization it is not. A ReLU network learns scikit-learn's digits by minibatch SGD on the squared
error. (Under the cross-entropy, too large a rate is forgiven once the loss has saturated, and on so easy a task
the best rate hardly moves in either.) At the base width all parametrizations are one network.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from infwidth.config import key
from infwidth.data.digits import DigitsConfig, prepare
from infwidth.models.mlp import MLP, Factors, finite
from infwidth.parametrization import ABC
from infwidth.progress import bar
from infwidth.seeding import stream
from infwidth.theory import descent

LOST = 1e4
"""A loss beyond which a network is taken to have diverged."""


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """Rates are 2^k for k from ``lowest`` to ``highest``; the loss is the mean over the last ``share`` of the steps."""

    depth: int = key(at_least=1)
    base_width: int = key(at_least=1)
    widths: tuple[int, ...] = key(at_least=1)
    lowest: int
    highest: int
    seeds: int = key(at_least=1)
    steps: int = key(at_least=1)
    share: float = key(above=0, at_most=1)
    batch: int = key(at_least=1)


def digits() -> tuple[Tensor, Tensor]:
    """Training images (n, 64), normalised, and their one-hot classes (n, 10), float32."""
    arrays, _ = prepare(DigitsConfig("digits", test_images=400))
    x = torch.from_numpy(arrays["train_x"]).float() / 255
    return (x - x.mean()) / x.std(), torch.nn.functional.one_hot(torch.from_numpy(arrays["train_y"]).long(), 10).float()


def trained_loss(net: MLP, x: Tensor, targets: Tensor, rate: float, settings: LearningRates, seed: int) -> float:
    """Mean half squared error of the last steps; infinite if the network has diverged."""
    losses, g = [], stream("learning rates", "batches", seed)
    for _ in range(settings.steps):
        chosen = torch.randint(len(x), (settings.batch,), generator=g)
        f = descent.step(net, x[chosen], descent.squared_loss(targets[chosen]), rate)
        loss = (f - targets[chosen]).square().sum(1).mean().item() / 2
        if not loss < LOST:
            return math.inf
        losses.append(loss)
    last = max(1, round(settings.share * settings.steps))
    return sum(losses[-last:]) / last


def table(abcs: Mapping[str, ABC], settings: LearningRates) -> pd.DataFrame:
    """A line for every parametrization, width and rate: the mean loss over seeds, infinite where one diverged."""
    s, (x, targets) = settings, digits()
    sigmas = (math.sqrt(2 / s.base_width),) * (s.depth + 1)
    sizes = (x.shape[1], targets.shape[1])
    rates = [2.0**k for k in range(s.lowest, s.highest + 1)]
    lines = []
    with bar(total=len(abcs) * len(s.widths) * len(rates) * s.seeds, desc="learning rates", unit="network") as done:
        for (name, abc), width, rate in itertools.product(abcs.items(), s.widths, rates):
            losses = []
            for seed in range(s.seeds):
                g = stream("learning rates", width, seed)
                net = finite(width, *sizes, sigmas, Factors(), abc, "relu", g, base_width=s.base_width)
                losses.append(trained_loss(net, x, targets, rate, s, seed))
                done.update()
            loss = sum(losses) / len(losses)
            lines.append({"parametrization": name, "width": width, "rate": rate, "loss": loss})
    return pd.DataFrame(lines)

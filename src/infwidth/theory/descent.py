"""SGD on the squared error, as all measurements of the theory train by it."""

from collections.abc import Callable

from torch import Tensor

from infwidth.models.contract import Model

Loss = Callable[[Tensor], Tensor]
"""Outputs (B, k) to the derivative of the loss by them."""


def squared_loss(targets: Tensor) -> Loss:
    """The derivative of half the mean squared error."""
    return lambda f: (f - targets) / len(targets)


def step(net: Model, x: Tensor, loss: Loss, rate: float) -> Tensor:
    """One step of SGD on all of x; returns the outputs (B, k) before it."""
    outputs, pullback = net.linearized(x)
    f = outputs.detach()
    net.apply_update(pullback(loss(f)), rate)
    return f

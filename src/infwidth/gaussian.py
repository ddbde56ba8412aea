"""Gaussian expectations of ReLU (the V-transforms of TP4 and PiLim).

For unit-variance Gaussians z1, z2 of correlation c:

    V(c)   = E relu(z1) relu(z2) = (sqrt(1 - c^2) + c (pi - arccos c)) / 2 pi
    V'(c)  = E step(z1) step(z2) = (pi - arccos c) / 2 pi
    V''(c) = 1 / (2 pi sqrt(1 - c^2))

For general standard deviations E relu relu = s1 s2 V(c), while E step step does not depend on them.

Correlations beyond [-1, 1] are rounding and are clamped. At +-1 V'' is infinite, but a correlation has its extremum
there: by the angle t of c = cos(t), V'' enters derivatives as V'' (dc/dt)^2 = sin(t) / 2 pi, which is 0. So V'' is
taken to be 0 at +-1 and beyond.
"""

import math

import torch
from torch import Tensor

TWO_PI = 2 * math.pi


class _ReluV(torch.autograd.Function):
    """V with its exact derivatives, which stay finite at c = +-1 where autograd of the formula gives 0/0."""

    @staticmethod
    def forward(ctx, c: Tensor) -> Tensor:
        value, step, _ = relu_v_step_v_root(c)
        ctx.save_for_backward(c, step)
        return value.div_(TWO_PI)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        c, step = ctx.saved_tensors
        return grad * _StepV.apply(c, step / TWO_PI)


class _StepV(torch.autograd.Function):
    """V'(c), whose values are known already, with its derivative V''(c)."""

    @staticmethod
    def forward(ctx, c: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(c)
        return values

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (c,) = ctx.saved_tensors
        return grad * _second_derivative(c), None


def _second_derivative(c: Tensor) -> Tensor:
    """V''(c), 0 at and beyond +-1."""
    outside = c.abs() >= 1
    root = torch.where(outside, 1, (1 - c) * (1 + c)).sqrt()
    return torch.where(outside, 0, 1 / (TWO_PI * root))


def relu_v(c: Tensor) -> Tensor:
    """V(c) for correlations of any shape; differentiable as often as is asked for."""
    return _ReluV.apply(c)


def step_v(c: Tensor) -> Tensor:
    """V'(c) for correlations of any shape; differentiable likewise."""
    with torch.no_grad():
        values = torch.acos(c.clamp(-1, 1)).neg_().add_(math.pi).div_(TWO_PI)
    return _StepV.apply(c, values)


def relu_v_step_v_root(c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """2 pi times V(c), V'(c) and V(c) - c V'(c), in seven passes over a tile, one of them an arccos; without gradients.

    The factor is left to whatever multiplies these next. The root is sqrt((1 - c) + (1 - c) c): to full relative
    precision near c = 1, where it and the arccos have to cancel.
    """
    return relu_v_step_v_root_into(c.clone(), torch.empty_like(c), torch.empty_like(c))


def relu_v_step_v_root_into(c: Tensor, step: Tensor, root: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same three in place of c and in the two others, of c's shape and layout.

    Fresh memory costs more than what is computed into it.
    """
    c.clamp_(-1, 1)
    torch.acos(c, out=step)
    torch.sub(torch.full((), math.pi, dtype=c.dtype, device=c.device), step, out=step)  # filled, not copied, on a GPU
    torch.sub(torch.ones((), dtype=c.dtype, device=c.device), c, out=root)
    root.addcmul_(root, c).sqrt_()
    return torch.addcmul(root, c, step, out=c), step, root

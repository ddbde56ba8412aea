"""Gaussian expectations of ReLU (the V-transforms of TP4 and PiLim).

For unit-variance Gaussians z1, z2 of correlation c:

    V(c)  = E relu(z1) relu(z2) = (sqrt(1 - c^2) + c (pi - arccos c)) / 2 pi
    V'(c) = E step(z1) step(z2) = (pi - arccos c) / 2 pi

For general standard deviations E relu relu = s1 s2 V(c), while E step step does not depend on them.
"""

import math

import torch
from torch import Tensor


class _ReluV(torch.autograd.Function):
    """V with its exact derivative V', which stays finite at c = +-1 where autograd of the formula gives 0/0."""

    @staticmethod
    def forward(ctx, c: Tensor) -> Tensor:
        c = c.clamp(-1, 1)
        ctx.save_for_backward(c)
        return relu_v_and_step_v(c)[0]

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (c,) = ctx.saved_tensors
        return grad * step_v(c)


def relu_v(c: Tensor) -> Tensor:
    """V(c) for correlations of any shape; values beyond [-1, 1] are rounding and are clamped."""
    return _ReluV.apply(c)


def step_v(c: Tensor) -> Tensor:
    """V'(c) for correlations of any shape."""
    return torch.acos(c.clamp(-1, 1)).neg_().add_(math.pi).div_(2 * math.pi)


def relu_v_and_step_v(c: Tensor) -> tuple[Tensor, Tensor]:
    """(V(c), V'(c)) at the cost of one arccos; without gradients."""
    c = c.clamp(-1, 1)
    step = step_v(c)
    root = torch.addcmul(torch.ones((), dtype=c.dtype, device=c.device), c, c, value=-1).clamp_(min=0).sqrt_()
    return root.div_(2 * math.pi).addcmul_(c, step), step

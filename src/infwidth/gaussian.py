"""Gaussian expectations of products of nonlinearities (the V-transforms of TP4 and PiLim): of ReLU, erf and GELU.

For unit-variance Gaussians z1, z2 of correlation c:

    V(c)   = E relu(z1) relu(z2) = (sqrt(1 - c^2) + c (pi - arccos c)) / 2 pi
    V'(c)  = E step(z1) step(z2) = (pi - arccos c) / 2 pi
    V''(c) = 1 / (2 pi sqrt(1 - c^2))

For general standard deviations E relu relu = s1 s2 V(c), while E step step does not depend on them.

Correlations beyond [-1, 1] are rounding and are clamped. At +-1 V'' is infinite, but a correlation has its extremum
there: by the angle t of c = cos(t), V'' enters derivatives as V'' (dc/dt)^2 = sin(t) / 2 pi, which is 0. So V'' is
taken to be 0 at +-1 and beyond.

erf and GELU are not homogeneous, so that their expectations depend on the variances u, v of z1, z2 and on their
covariance c. With N the normal distribution function and GELU(z) = z N(z):

    E erf erf    = 2/pi arcsin(2c / sqrt((1 + 2u) (1 + 2v)))
    E erf' erf'  = 4/pi / sqrt((1 + 2u) (1 + 2v) - 4c^2)
    E N N        = 1/4 + arcsin(c / sqrt((1 + u) (1 + v))) / 2 pi =: F,   D = (1 + u) (1 + v) - c^2
    E gelu gelu   = c F + (u v + c^2 - c^2 T) / (2 pi sqrt(D)),   T = u / (1 + u) + v / (1 + v)
    E gelu' gelu' = F + c (3 - 2T + (u v + c^2 - c^2 T) / D) / (2 pi sqrt(D))

GELU's follow from F by E z G = sums of (co)variances times E of G's derivatives (Stein), by the derivatives of F for
those expectations (Price: dF/dc = E N' N', 2 dF/du = E N'' N), and by E phi' phi' = d E phi phi / dc.
"""

import math
from collections.abc import Callable, Mapping

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


Expectations = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Covariances c and variances u, v (broadcast against c) to E phi phi and E phi' phi', of c's shape."""


def linear_expectations(c: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """E z1 z2 and E 1."""
    return c, torch.ones_like(c)


def erf_expectations(c: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """E erf erf and E erf' erf'."""
    product = (1 + 2 * u) * (1 + 2 * v)
    angle = torch.asin((2 * c / product.sqrt()).clamp(-1, 1))
    # Since c^2 <= u v: what rounding leaves of large terms that cancel must not be less.
    D = torch.maximum(product - 4 * c.square(), 1 + 2 * u + 2 * v)
    return 2 / math.pi * angle, 4 / math.pi / D.sqrt()


def gelu_expectations(c: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """E gelu gelu and E gelu' gelu'; GELU as defined, z N(z), not its approximation by tanh."""
    product = (1 + u) * (1 + v)
    D = torch.maximum(product - c.square(), 1 + u + v)  # as above
    F = 0.25 + torch.asin((c / product.sqrt()).clamp(-1, 1)) / TWO_PI
    T = u / (1 + u) + v / (1 + v)
    numerator, density = u * v + c.square() * (1 - T), 1 / (TWO_PI * D.sqrt())
    return c * F + numerator * density, F + c * (3 - 2 * T + numerator / D) * density


EXPECTATIONS: Mapping[str, Expectations] = {
    "linear": linear_expectations,
    "erf": erf_expectations,
    "gelu": gelu_expectations,
}
"""By the activation's name: those for which covariance and variances are needed, and linear. ReLU's are above."""

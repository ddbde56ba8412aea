"""NNGP and NTK of deep ReLU networks in PiLim's conventions, tile by tile.

    S^0 = X Yᵀ / d,   Lam^l = sigma_w^2 S^{l-1} + sigma_b^2,   S^l = E relu relu under Lam^l,   D^l = E step step under Lam^l
    NNGP = S^L
    NTK  = sum_{l=1}^{L+1} (lam_l S^{l-1} + lam_l^bias) prod_{k=l}^{L} sigma_w^2 D^k

lam are multipliers of the learning rate, layer by layer. The authors' program takes 2 V' at the correlation of S^k for D^k, after the
nonlinearity and without a factor 1/2; ``published`` reproduces it, and the published NTK accuracies with it. It is not the NTK.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infwidth.gaussian import TWO_PI, relu_v_step_v_root, step_v


@dataclass(frozen=True)
class DeepKernel:
    """depth L; sigma_w^2, sigma_b^2; tangent: NTK instead of NNGP; weights, biases: lam_1..lam_{L+1}, ones where they are empty."""

    depth: int
    sigma_w2: float = 1.0
    sigma_b2: float = 0.0
    tangent: bool = False
    published: bool = False
    weights: tuple[float, ...] = field(default=())
    biases: tuple[float, ...] = field(default=())

    def scales(self, x: Tensor) -> list[Tensor]:
        """sqrt of the diagonal of Lam^l, l = 1..L, for inputs x (..., n, d): (..., n) each."""
        variance, found = x.square().sum(-1) / x.shape[-1], []
        for _ in range(self.depth):
            variance = self.sigma_w2 * variance + self.sigma_b2
            found.append(variance.sqrt())
            variance = variance / 2  # V(1) = 1/2
        return found

    def prepared(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Inputs (..., n, d) as rows whose inner products are the correlations under Lam^1, and the scales."""
        scales = self.scales(x)
        rows = x * (self.sigma_w2 / x.shape[-1]) ** 0.5
        if self.sigma_b2:
            rows = torch.cat([rows, rows.new_full((*x.shape[:-1], 1), self.sigma_b2**0.5)], dim=-1)
        return rows * torch.where(scales[0] > 0, 1 / scales[0], 0)[..., None], scales

    @torch.no_grad()
    def tile(self, c: Tensor, scales_x: list[Tensor], scales_y: list[Tensor]) -> Tensor:
        """The kernel (..., n, m) from the correlations under Lam^1 and the scales of the rows and columns.

        From layer to layer only correlations are kept where there is no bias: those under Lam^{l+1} are then 2 V of those under Lam^l.
        """
        lam, lam_bias = self.weights or (1.0,) * (self.depth + 1), self.biases or (1.0,) * (self.depth + 1)
        theta = None
        for l in range(self.depth):
            outer = (
                scales_x[l][..., None] * scales_y[l][..., None, :]
                if self.tangent or self.sigma_b2 or l == self.depth - 1
                else None
            )
            if (
                self.tangent and l == 0
            ):  # lam_1 S^0 + lam_1^bias, of which Lam^1 = sigma_w^2 S^0 + sigma_b^2 holds the first
                theta = torch.mul(c, outer).sub_(self.sigma_b2).mul_(lam[0] / self.sigma_w2).add_(lam_bias[0])
            value, step, _ = relu_v_step_v_root(c)
            last = l == self.depth - 1
            if self.tangent:
                derivative, scale = (step_v(value / math.pi), 2.0) if self.published else (step, 1 / TWO_PI)
                theta.mul_(derivative.mul_(scale * self.sigma_w2)).addcmul_(value, outer, value=lam[l + 1] / TWO_PI)
                if lam_bias[l + 1]:
                    theta.add_(lam_bias[l + 1])
            if last:
                return theta if self.tangent else value.mul_(outer.div_(TWO_PI))
            if self.sigma_b2:
                below = value.mul_(outer).mul_(self.sigma_w2 / TWO_PI).add_(self.sigma_b2)
                inverse_x, inverse_y = (torch.where(s[l + 1] > 0, 1 / s[l + 1], 0) for s in (scales_x, scales_y))
                c = below.mul_(inverse_x[..., None]).mul_(inverse_y[..., None, :])
            else:
                c = value.mul_(2 / TWO_PI)
        raise AssertionError("a kernel has at least one layer")

    def for_clipping(self) -> "DeepKernel":
        """The kernel by which the norm of a gradient in function space is taken: this one."""
        return self

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel matrix (..., n, m) of inputs x (..., n, d), y (..., m, d)."""
        (rows, scales_x), (columns, scales_y) = self.prepared(x), self.prepared(y)
        return self.tile(rows @ columns.mT, scales_x, scales_y)

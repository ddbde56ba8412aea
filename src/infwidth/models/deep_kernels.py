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

from infwidth.gaussian import relu_v_and_step_v, step_v


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
        """sqrt of the diagonal of Lam^l, l = 1..L, for inputs x (n, d): (n,) each."""
        variance, found = x.square().sum(1) / x.shape[1], []
        for _ in range(self.depth):
            variance = self.sigma_w2 * variance + self.sigma_b2
            found.append(variance.sqrt())
            variance = variance / 2  # V(1) = 1/2
        return found

    @torch.no_grad()
    def tile(self, gram: Tensor, scales_x: list[Tensor], scales_y: list[Tensor]) -> Tensor:
        """The kernel (n, m) from X Yᵀ / d (n, m), which is overwritten, and the scales of the rows and columns."""
        lam, lam_bias = self.weights or (1.0,) * (self.depth + 1), self.biases or (1.0,) * (self.depth + 1)
        S, theta = gram, None
        if self.tangent:
            theta = S * lam[0] + lam_bias[0]
        for l, (sx, sy) in enumerate(zip(scales_x, scales_y, strict=True)):
            S = S.mul_(self.sigma_w2).add_(self.sigma_b2) if self.sigma_w2 != 1 or self.sigma_b2 else S
            inverse_x, inverse_y = (torch.where(s > 0, 1 / s, 0) for s in (sx, sy))
            c = S.mul_(inverse_x[:, None]).mul_(inverse_y)
            value, step = relu_v_and_step_v(c)
            if self.tangent:
                derivative = step_v(2 * value).mul_(2) if self.published else step
                theta.mul_(derivative.mul_(self.sigma_w2))
            S = value.mul_(sx[:, None]).mul_(sy)
            if self.tangent:
                theta.add_(S, alpha=lam[l + 1]).add_(lam_bias[l + 1])
        return theta if self.tangent else S

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel matrix (n, m) of inputs x (n, d), y (m, d)."""
        return self.tile((x / math.sqrt(x.shape[1])) @ (y / math.sqrt(y.shape[1])).mT, self.scales(x), self.scales(y))

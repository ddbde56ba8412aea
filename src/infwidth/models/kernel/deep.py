"""NNGP and NTK of deep ReLU networks in PiLim's conventions, tile by tile.

    S^0   = X Yᵀ / d
    Lam^l = sigma_w^2 S^{l-1} + sigma_b^2
    S^l   = E relu relu under Lam^l,   D^l = E step step under Lam^l
    NNGP  = S^L
    NTK   = sum_{l=1}^{L+1} (lam_l S^{l-1} + lam_l^bias) prod_{k=l}^{L} sigma_w^2 D^k

lam are multipliers of the learning rate, layer by layer. The authors' program takes 2 V' at the correlation of S^k
for D^k, after the nonlinearity and without a factor 1/2; ``published`` reproduces it, and the published NTK
accuracies with it. It is not the NTK.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from infwidth.gaussian import TWO_PI, relu_v_step_v_root, step_v


def _inverse(scale: Tensor) -> Tensor:
    """1 / scale; 0 for the input that is 0 and has no bias, whose correlations are then 0."""
    return torch.where(scale > 0, 1 / scale, 0)


@dataclass(frozen=True)
class DeepKernel:
    """depth L; sigma_w^2, sigma_b^2; tangent: NTK instead of NNGP; published: see above.

    weights, biases: lam_1..lam_{L+1} and lam_1^bias..lam_{L+1}^bias, ones where they are empty.
    """

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
        return rows * _inverse(scales[0])[..., None], scales

    @torch.no_grad()
    def tile(self, c: Tensor, scales_x: list[Tensor], scales_y: list[Tensor]) -> Tensor:
        """The kernel (..., n, m) from the correlations under Lam^1 and the scales of the rows and columns.

        From layer to layer only correlations are kept, which without a bias need no scales. Nothing is allocated
        that can be computed in place: a tile is to stay in the cache.
        """
        theta = outer = None
        for l in range(1, self.depth + 1):
            if self.tangent or self.sigma_b2 or l == self.depth:
                outer = scales_x[l - 1][..., None] * scales_y[l - 1][..., None, :]
            if self.tangent and l == 1:
                theta = self._tangent_of_first_layer(c, outer)
            value, step, _ = relu_v_step_v_root(c)
            if self.tangent:
                self._tangent_through(theta, l, value, step, outer)
            if l < self.depth:
                c = self._correlations_above(value, outer, scales_x[l], scales_y[l])
        return theta if self.tangent else value.mul_(outer.div_(TWO_PI))

    def _rates(self, l: int) -> tuple[float, float]:
        """lam_l and lam_l^bias, of layer l = 1..L+1."""
        return (self.weights[l - 1] if self.weights else 1.0), (self.biases[l - 1] if self.biases else 1.0)

    def _tangent_of_first_layer(self, c: Tensor, outer: Tensor) -> Tensor:
        """lam_1 S^0 + lam_1^bias, where outer c = Lam^1 = sigma_w^2 S^0 + sigma_b^2."""
        weight_rate, bias_rate = self._rates(1)
        return torch.mul(c, outer).sub_(self.sigma_b2).mul_(weight_rate / self.sigma_w2).add_(bias_rate)

    def _tangent_through(self, theta: Tensor, l: int, value: Tensor, step: Tensor, outer: Tensor) -> None:
        """theta <- theta sigma_w^2 D^l + lam_{l+1} S^l + lam_{l+1}^bias, in place; step is overwritten.

        value, step: 2 pi V and 2 pi V' of the correlations under Lam^l, so that S^l = outer V.
        """
        weight_rate, bias_rate = self._rates(l + 1)
        derivative, factor = (step_v(value / math.pi), 2.0) if self.published else (step, 1 / TWO_PI)
        theta.mul_(derivative.mul_(factor * self.sigma_w2))
        theta.addcmul_(value, outer, value=weight_rate / TWO_PI)
        if bias_rate:
            theta.add_(bias_rate)

    def _correlations_above(self, value: Tensor, outer: Tensor | None, scale_x: Tensor, scale_y: Tensor) -> Tensor:
        """The correlations under Lam^{l+1}, in place of value = 2 pi V of those under Lam^l; scales: of Lam^{l+1}."""
        if not self.sigma_b2:
            return value.mul_(2 / TWO_PI)  # V(1) = 1/2, whatever the scales
        covariance = value.mul_(outer).mul_(self.sigma_w2 / TWO_PI).add_(self.sigma_b2)
        return covariance.mul_(_inverse(scale_x)[..., None]).mul_(_inverse(scale_y)[..., None, :])

    def for_clipping(self) -> "DeepKernel":
        """The kernel by which the norm of a gradient in function space is taken: this one."""
        return self

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel matrix (..., n, m) of inputs x (..., n, d), y (..., m, d)."""
        (rows, scales_x), (columns, scales_y) = self.prepared(x), self.prepared(y)
        return self.tile(rows @ columns.mT, scales_x, scales_y)

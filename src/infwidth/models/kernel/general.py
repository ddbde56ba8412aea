"""NNGP and NTK of deep networks with activations that are not homogeneous, in PiLim's conventions, tile by tile.

The recursion is that of :mod:`infwidth.models.kernel.deep`, with covariances in place of correlations:

    S^0   = X Yᵀ / d
    Lam^l = sigma_w^2 S^{l-1} + sigma_b^2
    S^l   = E phi phi under Lam^l,   D^l = E phi' phi' under Lam^l
    NNGP  = S^L
    NTK   = sum_{l=1}^{L+1} (lam_l S^{l-1} + lam_l^bias) prod_{k=l}^{L} sigma_w^2 D^k
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth.errors import ConfigError
from infwidth.gaussian import EXPECTATIONS


@dataclass(frozen=True)
class GeneralKernel:
    """activation: phi, one of EXPECTATIONS; depth L; sigma_w^2, sigma_b^2; tangent: NTK instead of NNGP.

    weights, biases: lam_1..lam_{L+1} and lam_1^bias..lam_{L+1}^bias, ones where they are empty. Raises ConfigError for
    another activation.
    """

    activation: str
    depth: int
    sigma_w2: float = 1.0
    sigma_b2: float = 0.0
    tangent: bool = False
    weights: tuple[float, ...] = ()
    biases: tuple[float, ...] = ()

    def __post_init__(self):
        if self.activation not in EXPECTATIONS:
            raise ConfigError(
                f"a deep kernel of the activation {self.activation!r} is not known; choose one of: "
                f"relu, {', '.join(EXPECTATIONS)}."
            )

    def variances(self, x: Tensor) -> list[Tensor]:
        """The diagonal of Lam^l, l = 1..L, for inputs x (..., n, d): (..., n) each."""
        variance, found = x.square().sum(-1) / x.shape[-1], []
        for _ in range(self.depth):
            variance = self.sigma_w2 * variance + self.sigma_b2
            found.append(variance)
            variance, _ = EXPECTATIONS[self.activation](variance, variance, variance)
        return found

    def prepared(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Inputs (..., n, d) as rows whose inner products are Lam^1, and the variances."""
        rows = x * (self.sigma_w2 / x.shape[-1]) ** 0.5
        if self.sigma_b2:
            rows = torch.cat([rows, rows.new_full((*x.shape[:-1], 1), self.sigma_b2**0.5)], dim=-1)
        return rows, self.variances(x)

    @torch.no_grad()
    def tile(self, covariance: Tensor, variances_x: list[Tensor], variances_y: list[Tensor]) -> Tensor:
        """The kernel (..., n, m) from Lam^1 (..., n, m) and the variances of the rows and columns."""
        theta = None
        if self.tangent:
            weight_rate, bias_rate = self._rates(1)
            theta = (covariance - self.sigma_b2) * (weight_rate / self.sigma_w2) + bias_rate
        for l in range(1, self.depth + 1):
            u, v = variances_x[l - 1][..., None], variances_y[l - 1][..., None, :]
            value, derivative = EXPECTATIONS[self.activation](covariance, u, v)
            if self.tangent:
                weight_rate, bias_rate = self._rates(l + 1)
                theta = self.sigma_w2 * theta * derivative + weight_rate * value + bias_rate
            covariance = self.sigma_w2 * value + self.sigma_b2
        return theta if self.tangent else value

    def _rates(self, l: int) -> tuple[float, float]:
        """lam_l and lam_l^bias, of layer l = 1..L+1."""
        return (self.weights[l - 1] if self.weights else 1.0), (self.biases[l - 1] if self.biases else 1.0)

    def for_clipping(self) -> "GeneralKernel":
        """The kernel by which the norm of a gradient in function space is taken: this one."""
        return self

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel matrix (..., n, m) of inputs x (..., n, d), y (..., m, d)."""
        (rows, variances_x), (columns, variances_y) = self.prepared(x), self.prepared(y)
        return self.tile(rows @ columns.mT, variances_x, variances_y)

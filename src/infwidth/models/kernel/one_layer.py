"""The NNGP and NTK limits of a one-hidden-layer network, trained by kernel gradient descent (TP4's conventions).

With s(x)^2 = sigma_u^2 |x|^2 + sigma_b^2 and q the correlation (sigma_u^2 x.x' + sigma_b^2) / (s s'):

    ReLU:    NNGP = s s' V(q),                    NTK = NNGP + sigma_v^2 x.x' V'(q)
    linear:  NNGP = sigma_u^2 x.x' + sigma_b^2,   NTK = NNGP + sigma_v^2 x.x'
    others:  NNGP = E phi phi,                    NTK = NNGP + sigma_v^2 x.x' E phi' phi'

x.x' is not divided by the dimension; the bias is not trained. The norm by which the NTK's gradient is clipped takes
sigma_v = 1, as in the authors' code.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from infwidth.errors import ConfigError
from infwidth.gaussian import EXPECTATIONS, TWO_PI, relu_v_step_v_root

Activation = Literal["linear", "relu", "erf", "gelu"]
"""Those whose kernels are known."""


@dataclass(frozen=True)
class Kernel:
    """K(x, x') of the module docstring. tangent: NTK instead of NNGP; activation: one of Activation.

    Raises ConfigError for another activation.
    """

    activation: Activation
    tangent: bool
    sigma_u: float
    sigma_v: float
    sigma_b: float

    def __post_init__(self):
        known = get_args(Activation)
        if self.activation not in known:
            raise ConfigError(
                f"a kernel of the activation {self.activation!r} is not known; choose one of: {', '.join(known)}."
            )

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel matrix (..., N, M) of inputs x (..., N, d) and y (..., M, d)."""
        gram = torch.matmul(x, y.mT)
        covariance = gram * self.sigma_u**2 + self.sigma_b**2
        if self.activation == "linear":
            return covariance.add_(gram, alpha=self.sigma_v**2) if self.tangent else covariance
        if self.activation != "relu":
            u, v = self._variance(x).unsqueeze(-1), self._variance(y).unsqueeze(-2)
            value, derivative = EXPECTATIONS[self.activation](covariance, u, v)
            return value + self.sigma_v**2 * gram * derivative if self.tangent else value
        s_x, s_y = self._std(x).unsqueeze(-1), self._std(y).unsqueeze(-2)
        value, derivative, _ = relu_v_step_v_root(covariance.div_(s_x).div_(s_y))
        value.mul_(s_x / TWO_PI).mul_(s_y)
        return value.addcmul_(gram, derivative, value=self.sigma_v**2 / TWO_PI) if self.tangent else value

    def _std(self, x: Tensor) -> Tensor:
        s = self._variance(x).sqrt()
        return torch.where(s > 0, s, 1)  # a zero input has covariance 0 with everything; any divisor will do

    def _variance(self, x: Tensor) -> Tensor:
        return x.square().sum(-1) * self.sigma_u**2 + self.sigma_b**2

    @property
    def of_one_hots(self) -> float:
        """kappa: the linear kernel without bias on one-hot inputs is kappa times the identity."""
        return self.sigma_u**2 + (self.sigma_v**2 if self.tangent else 0.0)

    def for_clipping(self) -> "Kernel":
        return replace(self, sigma_v=1.0)

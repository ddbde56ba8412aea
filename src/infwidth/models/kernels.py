"""The NNGP and NTK limits of a one-hidden-layer network, trained by kernel gradient descent (TP4's conventions).

With s(x)^2 = sigma_u^2 |x|^2 + sigma_b^2 and q the correlation (sigma_u^2 x.x' + sigma_b^2) / (s s'):

    ReLU:    NNGP = s s' V(q),                    NTK = NNGP + sigma_v^2 x.x' V'(q)
    linear:  NNGP = sigma_u^2 x.x' + sigma_b^2,   NTK = NNGP + sigma_v^2 x.x'

x.x' is not divided by the dimension; the bias is not trained. The norm by which the NTK's gradient is clipped takes
sigma_v = 1, as in the authors' code.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infwidth.errors import CheckpointError, ConfigError
from infwidth.gaussian import TWO_PI, relu_v_step_v_root
from infwidth.models.contract import PARAMETERS, Adapted, Asked, Bags, Cotangent, Model, Update

TILE = 1 << 23
"""Entries of the kernel matrix held at a time: larger products are taken tile by tile."""

WORN = 1e-6
"""What decay may leave of a column's factor before it is multiplied into the column."""


@dataclass(frozen=True)
class Kernel:
    """K(x, x') of the module docstring. tangent: NTK instead of NNGP; activation: 'relu' or 'linear'."""

    activation: str
    tangent: bool
    sigma_u: float
    sigma_v: float
    sigma_b: float

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """Kernel matrix (..., N, M) of inputs x (..., N, d) and y (..., M, d)."""
        gram = torch.matmul(x, y.mT)
        covariance = gram * self.sigma_u**2 + self.sigma_b**2
        if self.activation == "linear":
            return covariance.add_(gram, alpha=self.sigma_v**2) if self.tangent else covariance
        s_x, s_y = self._std(x).unsqueeze(-1), self._std(y).unsqueeze(-2)
        value, derivative, _ = relu_v_step_v_root(covariance.div_(s_x).div_(s_y))
        value.mul_(s_x / TWO_PI).mul_(s_y)
        return value.addcmul_(gram, derivative, value=self.sigma_v**2 / TWO_PI) if self.tangent else value

    def _std(self, x: Tensor) -> Tensor:
        s = (x.square().sum(-1) * self.sigma_u**2 + self.sigma_b**2).sqrt()
        return torch.where(s > 0, s, 1)  # a zero input has covariance 0 with everything; any divisor will do

    @property
    def of_one_hots(self) -> float:
        """kappa: the linear kernel without bias on one-hot inputs is kappa times the identity."""
        return self.sigma_u**2 + (self.sigma_v**2 if self.tangent else 0.0)

    def for_clipping(self) -> "Kernel":
        return replace(self, sigma_v=1.0)


class KernelUpdate(Update):
    """Rows (x, dloss/df) to append; its norm is that of the function-space gradient, sqrt(sum_ij K_ij d_i.d_j)."""

    clip_epsilon = 0.0

    def __init__(self, kernel: Kernel, x: Tensor, derivative: Tensor):
        self.kernel, self.x, self.derivative = kernel, x, derivative

    def norms(self) -> dict[str, Tensor]:
        squared = (self.kernel.for_clipping()(self.x, self.x) * (self.derivative @ self.derivative.mT)).sum()
        return {"function": squared.clamp(min=0).sqrt()}

    def scaled(self, factors) -> "KernelUpdate":
        return KernelUpdate(self.kernel, self.x, self.derivative * factors["function"])


class KernelMachine(Model):
    """f(x) = sum_i K(x, x_i) a_i with a growing list of rows (x_i, a_i), empty at the start: f = 0."""

    def __init__(self, kernel: Kernel, inputs: int, outputs: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.kernel, self.rows = kernel, 0
        self.register_buffer("_x", torch.zeros(0, inputs, dtype=dtype))
        self.register_buffer("_a", torch.zeros(0, outputs, dtype=dtype))

    @property
    def x(self) -> Tensor:
        return self._x[: self.rows]

    @property
    def a(self) -> Tensor:
        return self._a[: self.rows]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        out = torch.zeros(len(flat), self._a.shape[1], dtype=x.dtype, device=x.device)
        if self.rows:
            at_once = max(1, TILE // min(self.rows, TILE))
            for i in range(0, len(flat), at_once):
                for j in range(0, self.rows, TILE):
                    block = self.kernel(flat[i : i + at_once], self.x[j : j + TILE])
                    out[i : i + at_once].addmm_(block, self.a[j : j + TILE])
        return out.reshape(*x.shape[:-1], -1)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Coordinates in which inner products are the hidden layer's kernel, exactly: their PCA is the kernel PCA of the limit.

        These features never move. The hidden kernel is the NNGP's, whichever of the two kernels trains f.
        """
        gram = replace(self.kernel, tangent=False)(x, x).double()
        values, vectors = torch.linalg.eigh(gram)
        return (vectors * values.clamp(min=0).sqrt()).to(x.dtype)

    def gradient(self, x: Tensor, cotangent: Tensor) -> KernelUpdate:
        return KernelUpdate(self.kernel, x.flatten(0, -2), cotangent.flatten(0, -2))

    @torch.no_grad()
    def apply_update(self, update: KernelUpdate, rate: float, decay: float = 0.0) -> None:
        needed = self.rows + len(update.x)
        if needed > len(self._x):  # doubling keeps the copies amortised
            for name in ("_x", "_a"):
                old = getattr(self, name)
                grown = old.new_empty(max(needed, 2 * len(old)), old.shape[1])
                grown[: self.rows] = old[: self.rows]
                setattr(self, name, grown)
        self._a[: self.rows] *= 1 - rate * decay
        self._x[self.rows : needed] = update.x
        self._a[self.rows : needed] = -rate * update.derivative
        self.rows = needed

    def adapted(
        self,
        support: Tensor,
        cotangent: Cotangent,
        rate: float,
        steps: int,
        second_order: bool = False,
        which: str = "all",
    ) -> "AdaptedKernel":
        if which != "all":
            raise ConfigError(PARAMETERS)
        if second_order:
            raise ConfigError(
                "task.adaptation.order=second is not defined for kernel limits, whose adaptation appends rows; use task.adaptation.order=first."
            )
        return AdaptedKernel(self, support, cotangent, rate, steps)

    def state(self) -> dict[str, Tensor]:
        return {"x": self.x, "a": self.a}

    def load_state(self, state) -> None:
        if (
            set(state) != {"x", "a"}
            or state["x"].shape[1:] != self._x.shape[1:]
            or state["a"].shape[1:] != self._a.shape[1:]
        ):
            raise CheckpointError(
                "the checkpoint does not fit the model: it holds no kernel expansion of these inputs and outputs."
            )
        device = self._x.device
        self._x, self._a, self.rows = (
            state["x"].to(device, copy=True),
            state["a"].to(device, copy=True),
            len(state["x"]),
        )


class AdaptedKernel(Adapted):
    """A kernel machine with rows for each episode's support, dropped with this object."""

    def __init__(self, machine: KernelMachine, support: Tensor, cotangent: Cotangent, rate: float, steps: int):
        self.machine, self.support = machine, support
        with torch.no_grad():
            base, gram = machine(support), machine.kernel(support, support)
            self.a = torch.zeros_like(base)
            for _ in range(steps):
                self.a = self.a - rate * cotangent(base + torch.matmul(gram, self.a))

    @torch.no_grad()
    def __call__(self, query: Tensor) -> Tensor:
        return self.machine(query) + torch.matmul(self.machine.kernel(query, self.support), self.a)

    def linearized(self, query: Tensor):
        return self(query), lambda cotangent: self.machine.gradient(query, cotangent)


class BagUpdate(Update):
    """Coefficients for the touched words and outputs; its norm is that of the function-space gradient, as in KernelUpdate."""

    clip_epsilon = 0.0

    def __init__(self, kernel: Kernel, words: Tensor, rows: Tensor, touches: Tensor, derivative: Tensor):
        self.kernel, self.words, self.rows, self.touches, self.derivative = kernel, words, rows, touches, derivative

    def norms(self) -> dict[str, Tensor]:
        return {"function": self.derivative.norm() * self.kernel.for_clipping().of_one_hots ** 0.5}

    def scaled(self, factors) -> "BagUpdate":
        return BagUpdate(self.kernel, self.words, self.rows, self.touches, self.derivative * factors["function"])


class BagKernelMachine(Model):
    """The linear kernel limits on bags of indices: f(x) = kappa A^T x, one row of coefficients A (d, k) for each index.

    Every input is a mean of the same d one-hot vectors, so the expansion of :class:`KernelMachine` has d distinct rows, on
    which the kernel is kappa times the identity: kappa = sigma_u^2, for the NTK sigma_u^2 + sigma_v^2. With a readout that
    starts at zero (sigma_v = 0, as in word2vec) the two limits are the same. What is trained is f; the features of an input
    stay those of the random initial embedding, in which different words are orthogonal.
    """

    def __init__(self, kernel: Kernel, inputs: int, outputs: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        if kernel.activation != "linear" or kernel.sigma_b:
            raise ConfigError(
                "task=word2vec takes the linear kernel without a bias; set model.activation=linear and model.sigma_b=0."
            )
        self.kernel = kernel
        self.register_buffer("A", torch.zeros(inputs, outputs, dtype=dtype))
        self.register_buffer(
            "kept", torch.ones(outputs, dtype=dtype)
        )  # what decay has left of each output's column of A

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel.of_one_hots * (x @ self.A) * self.kept

    @torch.no_grad()
    def linearized(
        self, bags: Bags, asked: Asked
    ) -> tuple[Tensor, Callable[[Tensor], BagUpdate]]:  # no dense inputs here
        A = self.A[bags.words[:, None], asked.rows] * self.kept[asked.rows]
        outputs = self.kernel.of_one_hots * asked.among(bags.mean_of(A))
        return outputs, lambda cotangent: BagUpdate(
            self.kernel, bags.words, asked.rows, asked.touches, bags.means.transposed_times(asked.over_rows(cotangent))
        )

    @torch.no_grad()
    def apply_update(self, update: BagUpdate, rate: float, decay: float = 0.0) -> None:
        rows = update.rows
        if decay:
            self.kept[rows] *= (1 - rate * decay) ** update.touches
            worn = rows[self.kept[rows] < WORN]
            if len(worn):  # before A / kept outgrows the floating-point numbers
                self.A[:, worn] *= self.kept[worn]
                self.kept[worn] = 1
        self.A[update.words[:, None], rows] -= rate * update.derivative / self.kept[rows]

    @torch.no_grad()
    def features(self, x: Bags) -> Tensor:
        one_hot = torch.zeros(len(x.words), len(self.A), dtype=self.A.dtype, device=self.A.device)
        one_hot.scatter_(1, x.words[:, None], self.kernel.sigma_u)
        return x.mean_of(one_hot)

    def gradient(self, x: Tensor, cotangent: Tensor) -> BagUpdate:
        words = torch.arange(len(self.A), device=self.A.device)
        return BagUpdate(
            self.kernel,
            words,
            words[: self.A.shape[1]],
            torch.zeros_like(self.kept),
            x.flatten(0, -2).mT @ cotangent.flatten(0, -2),
        )

    def adapted(
        self,
        support: Tensor,
        cotangent: Cotangent,
        rate: float,
        steps: int,
        second_order: bool = False,
        which: str = "all",
    ) -> Adapted:
        raise ConfigError(
            "the kernel machine on bags of indices has no adaptation; few-shot tasks build the one on dense inputs."
        )

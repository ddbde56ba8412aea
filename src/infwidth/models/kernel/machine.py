"""Kernel gradient descent: an expansion f(x) = sum_i K(x, x_i) a_i that training appends rows to."""

from dataclasses import replace

import torch
from torch import Tensor

from infwidth.errors import CheckpointError, ConfigError
from infwidth.models.contract import Adapted, Cotangent, Model
from infwidth.models.kernel.cosines import half_cosines
from infwidth.models.kernel.one_layer import Kernel
from infwidth.models.updates import Update

TILE = 1 << 23
"""Entries of the kernel matrix held at a time: larger products are taken tile by tile."""


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
        """Coordinates in which inner products are the hidden layer's kernel, exactly.

        Their PCA is the kernel PCA of the limit.

        These features never move. The hidden kernel is the NNGP's, whichever of the two kernels trains f.
        """
        gram = replace(self.kernel, tangent=False)(x, x).double()
        values, vectors = torch.linalg.eigh(gram)
        return (vectors * values.clamp(min=0).sqrt()).to(x.dtype)

    def unit_features(self, x: Tensor) -> Tensor:
        """The inputs themselves, of which the hidden layer's kernel is a function."""
        return x

    @torch.no_grad()
    def feature_kernel(self, rows: Tensor, columns: Tensor) -> Tensor:
        return half_cosines(replace(self.kernel, tangent=False), rows, columns)

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
            raise ConfigError("a kernel machine adapts as a whole; take which='all'.")
        if second_order:
            raise ConfigError(
                "second order is not defined for kernel limits, whose adaptation appends rows; adapt to first order."
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

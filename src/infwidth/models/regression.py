"""The NNGP and NTK limits of deep networks in closed form: kernel ridge regression on one-hot targets minus 1/2 (PiLim section 4)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from infwidth.errors import CheckpointError, ConfigError
from infwidth.models import ridge
from infwidth.models.contract import Adapted, Model, Update
from infwidth.models.deep_kernels import DeepKernel
from infwidth.progress import bar


class KernelRegression(Model):
    """f(x) = K(x, X) a with a = (K(X, X) + regulariser I)^{-1} Y; zero until it is fitted."""

    def __init__(self, kernel: DeepKernel, regulariser: float, inputs: int, outputs: int, dtype: torch.dtype = torch.float32, block: int = ridge.BLOCK):
        super().__init__()
        self.kernel, self.regulariser, self.block, self.outputs = kernel, regulariser, block, outputs
        self.register_buffer("X", torch.zeros(0, inputs, dtype=dtype))
        self.register_buffer("a", torch.zeros(0, outputs, dtype=dtype))

    @torch.no_grad()
    def fit(self, x: Tensor, labels: Tensor) -> None:
        """Fit to inputs x (n, d) and labels (n,). Needs one n x n array and nothing else of that size.

        Raises ConfigError if the regulariser leaves the matrix indefinite.
        """
        n = len(x)
        scaled, scales = x / x.shape[1] ** 0.5, self.kernel.scales(x)
        targets = torch.nn.functional.one_hot(labels, self.outputs).to(x.dtype) - 0.5

        def tile(rows: slice, columns: slice) -> Tensor:
            return self.kernel.tile(scaled[rows] @ scaled[columns].mT, [s[rows] for s in scales], [s[columns] for s in scales])

        with bar(total=n * (n + 1) // 2, desc="kernel matrix", unit="entry", unit_scale=True) as done:
            K = ridge.matrix(tile, n, x, self.block, done.update)
        with bar(total=n**3 // 3, desc="factorisation", unit="FLOP", unit_scale=True) as done:
            diagonal = ridge.factorise(K, self.regulariser, self.block, done.update)
        self.X, self.a = x, ridge.solve(K, diagonal, self.regulariser, targets, block=self.block).to(x.dtype)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(len(x), self.outputs, dtype=x.dtype, device=x.device)
        scaled, scales = x / x.shape[1] ** 0.5, self.kernel.scales(x)
        for columns in ridge.tiles(len(self.X), self.block):
            other = self.X[columns]
            part = self.kernel.tile(scaled @ (other / other.shape[1] ** 0.5).mT, scales, self.kernel.scales(other))
            out.addmm_(part, self.a[columns])
        return out

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Coordinates in which inner products are the NNGP kernel of x, exactly; they never move."""
        nngp = DeepKernel(self.kernel.depth, self.kernel.sigma_w2, self.kernel.sigma_b2)
        values, vectors = torch.linalg.eigh(nngp(x, x).double())
        return (vectors * values.clamp(min=0).sqrt()).to(x.dtype)

    def gradient(self, x: Tensor, cotangent: Tensor) -> Update:
        raise ConfigError("kernel regression has a closed form and is not trained; set trainer.epochs=0.")

    def apply_update(self, update: Update, rate: float, decay: float = 0.0) -> None:
        raise ConfigError("kernel regression has a closed form and is not trained; set trainer.epochs=0.")

    def adapted(self, support, cotangent, rate, steps, second_order=False) -> Adapted:
        raise ConfigError("kernel regression in closed form has no adaptation; few-shot tasks take kernel gradient descent.")

    def state(self) -> dict[str, Tensor]:
        return {"X": self.X, "a": self.a}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        if set(state) != {"X", "a"} or state["X"].shape[1:] != self.X.shape[1:] or len(state["X"]) != len(state["a"]):
            raise CheckpointError("the checkpoint does not fit the model: it holds no kernel regression of these inputs and outputs.")
        self.X, self.a = (state[k].to(self.X.device, copy=True) for k in ("X", "a"))

"""The NNGP and NTK limits of deep networks in closed form (PiLim section 4).

Kernel ridge regression on one-hot targets minus 1/2, or on numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from infwidth import ridge
from infwidth.errors import CheckpointError, ConfigError
from infwidth.models.contract import Model
from infwidth.models.kernel.cosines import half_cosines
from infwidth.models.kernel.deep import DeepKernel
from infwidth.models.kernel.general import GeneralKernel
from infwidth.models.updates import Update
from infwidth.models.watch import NOBODY, Watch


class KernelRegression(Model):
    """f(x) = K(x, X) a with a = (K(X, X) + regulariser I)^{-1} Y; zero until it is fitted."""

    closed_form = True

    def __init__(
        self,
        kernel: DeepKernel | GeneralKernel,
        regularisers: Sequence[float],
        choose_on: int | None,
        inputs: int,
        outputs: int,
        dtype: torch.dtype = torch.float32,
        block: int = ridge.BLOCK,
        tile: int = ridge.TILE,
    ):
        super().__init__()
        self.kernel, self.outputs = kernel, outputs
        self.regularisers, self.choose_on = tuple(regularisers), choose_on
        self.block, self.tile = block, tile
        self.register_buffer("X", torch.zeros(0, inputs, dtype=dtype))
        self.register_buffer("a", torch.zeros(0, outputs, dtype=dtype))

    def fit(self, x: Tensor, labels: Tensor, watch: Watch = NOBODY) -> dict[str, float]:
        """Fit to inputs x (n, d) and labels (n,), or, with one regulariser, to numbers (n, k).

        Needs one n x n array and nothing else of that size.

        Returns the regulariser and, where several were tried, its accuracy in per cent on the images that were
        held out. Raises ConfigError if a regulariser leaves the matrix indefinite.
        """
        if len(self.regularisers) == 1:
            self._fit(x, labels, self.regularisers[0], watch)
            return {"regulariser": self.regularisers[0]}
        n = min(self.choose_on or len(x), len(x))
        kept, scores = n - n // 10, {}
        for regulariser in self.regularisers:
            self._fit(x[:kept], labels[:kept], regulariser, watch)
            scores[regulariser] = 100 * (self(x[kept:n]).argmax(1) == labels[kept:n]).double().mean().item()
        best = max(scores, key=scores.get)
        tried = ", ".join(f"{r:g}: {score:.2f} %" for r, score in scores.items())
        watch.say(f"regulariser {tried} on {n - kept} held-out of {n} images; {best:g} is taken")
        self._fit(x, labels, best, watch)
        return {"regulariser": best, "regulariser_accuracy": scores[best]}

    @torch.no_grad()
    def _fit(self, x: Tensor, labels: Tensor, regulariser: float, watch: Watch) -> None:
        K = self._matrix(x, watch)
        with watch.stage("factorisation", len(x) ** 3 // 3, "FLOP") as done:
            diagonal = ridge.factorise(K, regulariser, self.block, done)
        targets = self._targets(labels, x.dtype)
        self.X, self.a = x, ridge.solve(K, diagonal, regulariser, targets, block=self.block).to(x.dtype)

    def _targets(self, labels: Tensor, dtype: torch.dtype) -> Tensor:
        if labels.dim() == 2:
            return labels.to(dtype)
        return torch.nn.functional.one_hot(labels, self.outputs).to(dtype) - 0.5

    def _matrix(self, x: Tensor, watch: Watch) -> Tensor:
        """K(x, x); what it is made from is given up with this function's end."""
        n = len(x)
        rows, scales = self.kernel.prepared(x)

        def tile(i: slice, j: slice) -> Tensor:
            return self.kernel.tile(rows[i] @ rows[j].mT, [s[i] for s in scales], [s[j] for s in scales])

        with watch.stage("kernel matrix", n * (n + 1) // 2, "entry") as done:
            return ridge.matrix(tile, n, x, self.tile, done)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(len(x), self.outputs, dtype=x.dtype, device=x.device)
        rows, scales = self.kernel.prepared(x)
        for j in ridge.tiles(len(self.X), self.tile):
            columns, others = self.kernel.prepared(self.X[j])
            for i in ridge.tiles(len(x), self.tile):
                out[i].addmm_(self.kernel.tile(rows[i] @ columns.mT, [s[i] for s in scales], others), self.a[j])
        return out

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Coordinates in which inner products are the NNGP kernel of x, exactly; they never move."""
        values, vectors = torch.linalg.eigh(self._nngp(x, x).double())
        return (vectors * values.clamp(min=0).sqrt()).to(x.dtype)

    @property
    def _nngp(self) -> DeepKernel | GeneralKernel:
        return replace(self.kernel, tangent=False)

    def unit_features(self, x: Tensor) -> Tensor:
        """The inputs themselves, of which the NNGP kernel is a function."""
        return x

    @torch.no_grad()
    def feature_kernel(self, rows: Tensor, columns: Tensor) -> Tensor:
        return half_cosines(self._nngp, rows, columns)

    def gradient(self, x: Tensor, cotangent: Tensor) -> Update:
        raise ConfigError("kernel regression has a closed form and is not trained; set trainer.epochs=0.")

    def apply_update(self, update: Update, rate: float, decay: float = 0.0) -> None:
        raise ConfigError("kernel regression has a closed form and is not trained; set trainer.epochs=0.")

    def state(self) -> dict[str, Tensor]:
        return {"X": self.X, "a": self.a}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        if set(state) != {"X", "a"} or state["X"].shape[1:] != self.X.shape[1:] or len(state["X"]) != len(state["a"]):
            raise CheckpointError(
                "the checkpoint does not fit the model: it holds no kernel regression of these inputs and outputs."
            )
        self.X, self.a = (state[k].to(self.X.device, copy=True) for k in ("X", "a"))

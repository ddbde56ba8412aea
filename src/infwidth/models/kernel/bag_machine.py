"""The linear kernel limits on bags of indices."""

from collections.abc import Callable

import torch
from torch import Tensor

from infwidth.errors import ConfigError
from infwidth.models.bags import Asked, Bags
from infwidth.models.contract import Model
from infwidth.models.kernel.one_layer import Kernel
from infwidth.models.updates import Update

WORN = 1e-6
"""What decay may leave of a column's factor before it is multiplied into the column."""


class BagUpdate(Update):
    """Coefficients for the touched words and outputs; its norm is the function-space gradient's, as in KernelUpdate."""

    clip_epsilon = 0.0

    def __init__(self, kernel: Kernel, words: Tensor, rows: Tensor, touches: Tensor, derivative: Tensor):
        self.kernel, self.words, self.rows, self.touches, self.derivative = kernel, words, rows, touches, derivative

    def norms(self) -> dict[str, Tensor]:
        return {"function": self.derivative.norm() * self.kernel.for_clipping().of_one_hots ** 0.5}

    def scaled(self, factors) -> "BagUpdate":
        return BagUpdate(self.kernel, self.words, self.rows, self.touches, self.derivative * factors["function"])


class BagKernelMachine(Model):
    """The linear kernel limits on bags of indices: f(x) = kappa A^T x, one row of coefficients A (d, k) for each index.

    Every input is a mean of the same d one-hot vectors, so the expansion of :class:`KernelMachine` has d distinct
    rows, on which the kernel is kappa times the identity: kappa = sigma_u^2, for the NTK sigma_u^2 + sigma_v^2.
    With a readout that starts at zero (sigma_v = 0, as in word2vec) the two limits are the same. What is trained
    is f; the features of an input stay those of the random initial embedding, in which different words are
    orthogonal.
    """

    def __init__(self, kernel: Kernel, inputs: int, outputs: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        if kernel.activation != "linear" or kernel.sigma_b:
            raise ConfigError(
                "on bags of indices the kernel limits take the linear kernel without a bias; set "
                "model.activation=linear and model.sigma_b=0."
            )
        self.kernel = kernel
        self.register_buffer("A", torch.zeros(inputs, outputs, dtype=dtype))
        # What decay has left of each output's column of A.
        self.register_buffer("kept", torch.ones(outputs, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.kernel.of_one_hots * (x @ self.A) * self.kept

    @torch.no_grad()
    def linearized(self, bags: Bags, asked: Asked) -> tuple[Tensor, Callable[[Tensor], BagUpdate]]:
        """As in the contract, of bags only."""
        A = self.A[bags.words[:, None], asked.rows] * self.kept[asked.rows]
        outputs = self.kernel.of_one_hots * asked.among(bags.mean_of(A))

        def pullback(cotangent: Tensor) -> BagUpdate:
            derivative = bags.means.transposed_times(asked.over_rows(cotangent))
            return BagUpdate(self.kernel, bags.words, asked.rows, asked.touches, derivative)

        return outputs, pullback

    @torch.no_grad()
    def apply_update(self, update: BagUpdate, rate: float, decay: float = 0.0) -> None:
        rows = update.rows
        if decay:
            self.kept[rows] *= (1 - rate * decay) ** update.touches
            worn = rows[self.kept[rows] < WORN]  # how many these are, a GPU has to be waited for
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

"""The gradient of a pi-limit: dense for the first layer and the biases, rows to append for the others."""

from collections.abc import Mapping

from torch import Tensor

from infwidth.models.pi.growing import function_norm
from infwidth.models.updates import Update


class PiUpdate(Update):
    """dA^1 (d, r); for l = 2..L+1 rows (dA^l, B^l); bias gradients. Factors of clipping are kept aside."""

    clip_epsilon = 0.0

    def __init__(
        self,
        first: Tensor,
        rows: Mapping[int, tuple[Tensor, Tensor]],
        biases: Mapping[int, Tensor],
        uncounted: tuple[str, ...] = (),
        factors=None,
    ):
        self.first, self.rows, self.biases, self.uncounted, self.factors = (
            first,
            dict(rows),
            dict(biases),
            uncounted,
            factors or {},
        )

    def norms(self) -> dict[str, Tensor]:
        norms = {"A1": self.first.norm()} | {f"A{l}": function_norm(A, B) for l, (A, B) in self.rows.items()}
        norms |= {f"b{l}": g.norm() for l, g in self.biases.items()}
        return {k: n * self.factor(k) for k, n in norms.items() if k not in self.uncounted}

    def factor(self, name: str) -> Tensor | float:
        return self.factors.get(name, 1.0)

    def scaled(self, factors: Mapping[str, Tensor]) -> "PiUpdate":
        # What is left out of the norm is the frozen readout, which is not applied: it takes no factor.
        found = {name: self.factor(name) * factor for name, factor in factors.items()}
        return PiUpdate(self.first, self.rows, self.biases, self.uncounted, found)

"""The one-hidden-layer linear network f(x) = s V(Ux + alpha b), at finite width and in its mu-limit (TP4 sections 5-6).

It is stored in mu-P's balanced form: U and V are the trained w^1 and w^2 of the abc-parametrization shifted to
c = 0, so that one learning rate serves both and no power of the width appears in training; s = n^{-(a_1 + a_2)} is
1 for mu-P. Entries of U and V then have variance of order 1/n, which must not be read as the exponents of an
abc-parametrization.

As n -> infinity the columns of U, the rows of V and b stay in the span of their d + k independent Gaussian initial
values. In coordinates with respect to them the limit *is* a finite network of width d + k, started at
U = sigma_u [I; 0], V = sigma_v [0, I], b = 0. The same argument reduces any finite network wider than its span,
exactly.

There are two kinds of input. Dense x, such as images. And bags of indices: word2vec's CBOW is this very network,
its input the mean of one-hot context words, its outputs those of a few sampled words. A minibatch of it is the
dense network on the columns of U and the rows of V that the minibatch touches (:meth:`LinearNet.linearized`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from infwidth.errors import ConfigError
from infwidth.models.bags import Asked, Bags
from infwidth.models.contract import Cotangent, Model
from infwidth.models.linear.adapted import AdaptedLinear
from infwidth.models.updates import DenseUpdate, Rows, RowUpdate, Update


class LinearNet(Model):
    """f(x) = scale * V(Ux + alpha b).

    U (m, d), V (k, m), b (m): initial values; m is the width, or the dimension of the span that training stays in.
    alpha: bias multiplier; the gradient of b carries it too. scale: s above.
    """

    def __init__(self, U: Tensor, V: Tensor, b: Tensor, alpha: float = 1.0, scale: float = 1.0):
        super().__init__()
        self.U, self.V, self.b = nn.Parameter(U), nn.Parameter(V), nn.Parameter(b)
        self.alpha, self.scale = alpha, scale

    def hidden(self, x: Tensor) -> Tensor:
        """h = Ux + alpha b for x (..., d)."""
        return nn.functional.linear(x, self.U, self.alpha * self.b)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.matmul(self.hidden(x), self.V.mT)

    @torch.no_grad()
    def features(self, x: Tensor | Bags) -> Tensor:
        return self._mean_of_columns(x, self._columns(x)) if isinstance(x, Bags) else self.hidden(x)

    def _columns(self, bags: Bags) -> Tensor:
        """The columns of U that bags touch, as rows (n, m)."""
        return self.U.mT.index_select(0, bags.words)

    def _mean_of_columns(self, bags: Bags, columns: Tensor) -> Tensor:
        h = bags.mean_of(columns)
        return h.add_(self.b, alpha=self.alpha) if self.alpha else h

    @torch.no_grad()
    def linearized(self, x: Tensor | Bags, asked: Asked | None = None) -> tuple[Tensor, Callable[[Tensor], Update]]:
        """As in the contract.

        For bags the network on the columns of U and the rows of V that they touch: products of their sizes, nothing of
        the vocabulary's.
        """
        if not isinstance(x, Bags):
            return super().linearized(x)
        bags, V = x, self.V.index_select(0, asked.rows)
        shared, own = V[: asked.shared], V.index_select(0, asked.own)
        h = self._mean_of_columns(bags, self._columns(bags))
        outputs = h.new_empty(len(h), 1 + asked.shared)
        torch.sum(h * own, dim=1, out=outputs[:, 0])
        torch.mm(h, shared.mT, out=outputs[:, 1:])
        if self.scale != 1:
            outputs *= self.scale

        @torch.no_grad()
        def pullback(cotangent: Tensor) -> RowUpdate:
            delta = cotangent if self.scale == 1 else self.scale * cotangent
            at_own, at_shared = delta[:, :1], delta[:, 1:]
            at_hidden = (at_shared @ shared).addcmul_(own, at_own)
            at_rows = torch.empty_like(V)
            torch.mm(at_shared.mT, h, out=at_rows[: asked.shared])
            at_rows[asked.shared :] = 0
            at_rows.index_add_(0, asked.own, h * at_own)
            rows = {
                "U": Rows(bags.words, bags.means.transposed_times(at_hidden), bags.touches, columns=True),
                "V": Rows(asked.rows, at_rows, asked.touches),
            }
            return RowUpdate(rows, {"b": self.alpha * at_hidden.sum(0)} if self.alpha else None)

        return outputs, pullback

    @torch.no_grad()
    def gradient(self, x: Tensor, cotangent: Tensor) -> DenseUpdate:
        x, cotangent = x.flatten(0, -2), self.scale * cotangent.flatten(0, -2)
        return self.assembled(cotangent @ self.V, x, cotangent.mT @ self.hidden(x))

    def assembled(self, at_hidden: Tensor, x: Tensor, V: Tensor) -> DenseUpdate:
        """The update from derivatives by the hidden activations (R, m) at inputs x (R, d) and by V (k, m)."""
        return DenseUpdate({"U": at_hidden.mT @ x, "V": V, "b": self.alpha * at_hidden.sum(0)})

    def apply_update(self, update: DenseUpdate | RowUpdate, rate: float, decay: float = 0.0) -> None:
        update.apply_to(self.named_parameters(), rate, decay)

    def state(self) -> dict[str, Tensor]:
        """As in the contract; a U laid out for bags appears as its ``columns`` (d, m): saving copies nothing."""
        found = super().state()
        return {"columns": found.pop("U").mT, **found} if self._by_columns else found

    @property
    def _by_columns(self) -> bool:
        return not self.U.is_contiguous()

    def adapted(
        self,
        support: Tensor,
        cotangent: Cotangent,
        rate: float,
        steps: int,
        second_order: bool = False,
        which: str = "all",
    ) -> "AdaptedLinear":
        if which != "all":
            raise ConfigError("a linear network of one hidden layer adapts as a whole; take which='all'.")
        return AdaptedLinear(self, support, cotangent, rate, steps, second_order)

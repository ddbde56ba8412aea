"""The one-hidden-layer linear network f(x) = s V(Ux + alpha b), at finite width and in its mu-limit (TP4 sections 5-6).

It is stored in mu-P's balanced form: U and V are the trained w^1 and w^2 of the abc-parametrization shifted to c = 0, so
that one learning rate serves both and no power of the width appears in training; s = n^{-(a_1 + a_2)} is 1 for mu-P.
Entries of U and V then have variance of order 1/n, which must not be read as the exponents of an abc-parametrization.

As n -> infinity the columns of U, the rows of V and b stay in the span of their d + k independent Gaussian initial
values. In coordinates with respect to them the limit *is* a finite network of width d + k, started at
U = sigma_u [I; 0], V = sigma_v [0, I], b = 0. The same argument reduces any finite network wider than its span, exactly.

There are two kinds of input. Dense x, such as images. And bags of indices: word2vec's CBOW is this very network, its input
the mean of one-hot context words, its outputs those of a few sampled words. A minibatch of it is the dense network on the
columns of U and the rows of V that the minibatch touches (:meth:`LinearNet.linearized`).
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from infwidth.errors import ConfigError
from infwidth.models.contract import (
    PARAMETERS,
    Adapted,
    Asked,
    Bags,
    Cotangent,
    DenseUpdate,
    Model,
    Rows,
    RowUpdate,
    Sizes,
    Update,
    Work,
)
from infwidth.parametrization import ABC


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
        """For bags the network on the touched columns of U and rows of V: products of their sizes, nothing of the vocabulary's."""
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
        """As in the contract; a U that is laid out for bags appears as its ``columns`` (d, m), so that saving copies nothing."""
        found = super().state()
        return {"columns": found.pop("U").mT, **found} if self._by_columns else found

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        if self._by_columns and "columns" in state:
            state = {"U" if name == "columns" else name: t.mT if name == "columns" else t for name, t in state.items()}
        super().load_state(state)

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
            raise ConfigError(PARAMETERS)
        return AdaptedLinear(self, support, cotangent, rate, steps, second_order)


class AdaptedLinear(Adapted):
    """A LinearNet adapted to each of T episodes without a copy of U per episode.

    SGD moves U by multiples of outer products with the support inputs S, so the adapted matrix is U - EᵀS with E
    (T, support, m) the accumulated readout errors. Activations then follow from those of the base network:
    h'(x) = h(x) - (x Sᵀ + alpha^2) E.
    """

    def __init__(
        self, net: LinearNet, support: Tensor, cotangent: Cotangent, rate: float, steps: int, second_order: bool
    ):
        self.net, self.support, self.second_order = net, support, second_order
        with torch.no_grad():
            base = net.hidden(support)
        with torch.set_grad_enabled(second_order):
            # Second order differentiates by activations, from which the gradient of U follows as outer products;
            # b acts through the activations, so it needs no leaf of its own.
            self.support_hidden, self.V0 = self._leaf(base), self._leaf(net.V)
            gram = self._similarity(support)
            h, self.V, self.E = self.support_hidden, self.V0.expand(len(support), -1, -1), None
            for _ in range(steps):
                if self.E is not None:
                    h = torch.baddbmm(self.support_hidden, gram, self.E, alpha=-1)
                delta = rate * net.scale * cotangent(net.scale * torch.matmul(h, self.V.mT))
                self.E = torch.bmm(delta, self.V) if self.E is None else torch.baddbmm(self.E, delta, self.V)
                self.V = torch.baddbmm(self.V, delta.mT, h, alpha=-1)

    def _leaf(self, x: Tensor) -> Tensor:
        return x.detach().requires_grad_() if self.second_order else x.detach()

    def _similarity(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.support.mT) + self.net.alpha**2

    def _hidden(self, query: Tensor, base: Tensor) -> Tensor:
        return base if self.E is None else torch.baddbmm(base, self._similarity(query), self.E, alpha=-1)

    @torch.no_grad()
    def __call__(self, query: Tensor) -> Tensor:
        return self.net.scale * torch.matmul(self._hidden(query, self.net.hidden(query)), self.V.mT)

    def linearized(self, query: Tensor):
        return self._second_order(query) if self.second_order else self._first_order(query)

    @torch.no_grad()
    def _first_order(self, query: Tensor):
        """The gradient at the adapted parameters, applied to the base ones."""
        net, h = self.net, self._hidden(query, self.net.hidden(query))
        outputs = net.scale * torch.matmul(h, self.V.mT)

        def pullback(cotangent: Tensor) -> DenseUpdate:
            delta = net.scale * cotangent
            at_query = torch.bmm(delta, self.V).flatten(0, 1)
            return net.assembled(at_query, query.flatten(0, 1), delta.flatten(0, 1).mT @ h.flatten(0, 1))

        return outputs, pullback

    def _second_order(self, query: Tensor):
        """The gradient through the adaptation."""
        net, base = self.net, self._leaf(self.net.hidden(query))
        outputs = net.scale * torch.matmul(self._hidden(query, base), self.V.mT)

        def pullback(cotangent: Tensor) -> DenseUpdate:
            at_query, at_support, V = torch.autograd.grad(
                outputs, (base, self.support_hidden, self.V0), cotangent, materialize_grads=True
            )
            at_hidden = torch.cat([at_query.flatten(0, 1), at_support.flatten(0, 1)])
            return net.assembled(at_hidden, torch.cat([query.flatten(0, 1), self.support.flatten(0, 1)]), V)

        return outputs.detach(), pullback


def mu_limit(
    inputs: int,
    outputs: int,
    sigma_u: float,
    sigma_v: float,
    alpha: float = 1.0,
    dtype: torch.dtype = torch.float32,
    bags: bool = False,
) -> LinearNet:
    """The mu-limit itself, in coordinates with respect to the initial Gaussians: no sampling and no width.

    With sigma_v = 0 the last ``outputs`` coordinates never move and are left out. bags: lay U out for bags of indices.
    """
    m = mu_limit_dimension(inputs, outputs, sigma_v)
    U, V = torch.zeros(inputs, m, dtype=dtype), torch.zeros(outputs, m, dtype=dtype)
    U.diagonal().fill_(sigma_u)
    V.diagonal(inputs).fill_(sigma_v)
    return LinearNet(_laid_out(U, bags), V, torch.zeros(m, dtype=dtype), alpha)


def mu_limit_dimension(inputs: int, outputs: int, sigma_v: float) -> int:
    """How many coordinates the mu-limit has: d + k, or d if the readout starts at zero."""
    return inputs + outputs if sigma_v else inputs


def work(m: int, sizes: Sizes, itemsize: int) -> Work:
    """A training step on bags: products with the outputs that all are asked for; columns of all members, the touched columns and
    rows, and those of each bag's own output, read and written."""
    flops = 2 * m * sizes.bags * 3 * sizes.shared
    moved = m * itemsize * (2 * sizes.members + 6 * (sizes.words + sizes.asked) + 10 * sizes.bags)
    return Work(flops, moved)


def _laid_out(columns: Tensor, bags: bool) -> Tensor:
    """U (m, d) from its columns (d, m): each column in one piece for bags of indices, each row in one piece for dense inputs."""
    return columns.mT if bags else columns.mT.contiguous()


def sampled(limit: LinearNet, width: int, generator: torch.Generator, omega: Tensor | None = None) -> LinearNet:
    """A width-n network drawn from a mu-limit, at any moment of its training; it approaches it at rate n^{-1/2}.

    omega (width, m): the Gaussians of the basis, if they are to be given.
    """
    m = limit.U.shape[0]
    if omega is None:
        omega = torch.randn(width, m, generator=generator, dtype=limit.U.dtype)
    omega = omega / math.sqrt(width)
    with torch.no_grad():
        return LinearNet(omega @ limit.U, limit.V @ omega.mT, omega @ limit.b, limit.alpha, limit.scale)


def finite(
    width: int,
    inputs: int,
    outputs: int,
    sigma_u: float,
    sigma_v: float,
    alpha: float,
    abc: ABC,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    initial: Literal["gaussian", "uniform"] = "gaussian",
    bags: bool = False,
) -> LinearNet:
    """A width-n network in an abc-parametrization of depth 1: w^1 ~ sigma_u N(0, n^{-2b_1}), w^2 ~ sigma_v N(0, n^{-2b_2}), b = 0.

    initial='uniform' draws w^1 from the uniform distribution of the same variance, as TP4's word2vec does. bags: lay U out
    for bags of indices. Raises ConfigError if the parametrization is of another depth.
    """
    if abc.depth != 1:
        raise ConfigError(f"the linear network has one hidden layer, the parametrization is given for {abc.depth}.")
    shifted = abc.shifted(abc.c / 2)
    first, readout = shifted.layer(1, width), shifted.layer(2, width)
    if initial == "uniform":
        U = (
            torch.rand(width, inputs, generator=generator, dtype=dtype)
            .sub_(0.5)
            .mul_(math.sqrt(12) * sigma_u * first.init_std)
        )
    else:
        U = torch.randn(width, inputs, generator=generator, dtype=dtype) * (sigma_u * first.init_std)
    V = torch.zeros(outputs, width, dtype=dtype)
    if sigma_v:
        V = torch.randn(outputs, width, generator=generator, dtype=dtype) * (sigma_v * readout.init_std)
    if bags:
        U = _laid_out(U.mT.contiguous(), bags)
    return LinearNet(U, V, torch.zeros(width, dtype=dtype), alpha, first.multiplier * readout.multiplier)


def reduced(net: LinearNet) -> LinearNet:
    """The same network in an orthonormal basis of the span its training stays in: width 8192 at the cost of d + k.

    The span is that of the columns of U, the rows of V and b; zero V and b are left out of it. Gradients, their
    norms and outputs are unchanged, so every f_t is. A network no wider than its span is returned as it is.
    """
    with torch.no_grad():
        parts = [net.U, *([net.V.mT] if net.V.any() else []), *([net.b[:, None]] if net.b.any() else [])]
        span = torch.cat(parts, dim=1)
        if span.shape[0] <= span.shape[1]:
            return net
        Q = torch.linalg.qr(span.double()).Q.to(net.U.dtype)
        U = Q.mT @ net.U if net.U.is_contiguous() else (net.U.mT @ Q).mT  # in the layout that it had
        return LinearNet(U, net.V @ Q, Q.mT @ net.b, net.alpha, net.scale)

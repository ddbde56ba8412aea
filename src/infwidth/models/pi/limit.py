"""The pi-limit of a deep ReLU network (PiLim): a network whose gradients are appended, not added.

    g^1 = alpha_1 (X A^1 + beta b^1)
    g^l = (s V(q) * m^l) A^l + beta b^l,   s = |g^{l-1}|,   q = g^{l-1} B^lᵀ / s,   l = 2..L+1
    out = alpha_out g^{L+1}

A^1 (d, r) is dense; A^l, B^l, m^l of l = 2..L+1 grow by a row for every training example. A step appends the rows
(dA, g^{l-1}/s) with multiplier -rate mu_l, the gradient in function space, and shrinks the old multipliers by weight
decay.

Over several ranks the rows are dealt out. All have A^1, the biases and every g, and so the same new rows, of which each
keeps its own.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from infwidth.errors import CheckpointError, ConfigError, InfwidthError
from infwidth.gaussian import relu_v
from infwidth.models.contract import Adapted, Cotangent, Model
from infwidth.models.mlp.multipliers import Factors
from infwidth.models.pi.adapted import AdaptedPi
from infwidth.models.pi.bounded import Bounded
from infwidth.models.pi.growing import GrowingLayer, unit_rows
from infwidth.models.pi.outputs import outputs
from infwidth.models.pi.readout import PiReadout
from infwidth.models.pi.update import PiUpdate
from infwidth.models.readout import AdaptedReadout, adapted_from
from infwidth.ranks import Ranks

AT_ONCE = 1000
"""Inputs that are evaluated together: their tiles are as wide as a block of rows is long."""


class PiLimit(Model):
    """The pi-limit with the given initial arrays.

    A1 (d, r); layers: GrowingLayer for l = 2..L+1; biases: b^l (r,), readout (k,), float dtype of A1. readout_in_norm:
    whether the readout's gradient counts for the norm that is clipped. bounded: what keeps the number of rows within
    bounds, if anything does.
    """

    def __init__(
        self,
        A1: Tensor,
        layers: list[GrowingLayer],
        biases: list[Tensor],
        factors: Factors,
        readout_in_norm: bool = True,
        bounded: Bounded | None = None,
    ):
        super().__init__()
        self.A1, self.layers = nn.Parameter(A1), nn.ModuleList(layers)
        self.factors, self.readout_in_norm, self.depth = factors, readout_in_norm, len(layers)
        self.b = nn.ParameterList([nn.Parameter(b) for b in biases])
        self.bounded = bounded
        self.received: list[PiUpdate] | None = None  # from loss.backward(); None where no optimizer takes them
        self.have_alike()

    @property
    def ranks(self) -> Ranks:
        return self.layers[0].ranks

    def dealt(self, name: str) -> int | None:
        return 0 if name.startswith("layers.") else None

    @torch.no_grad()
    def have_alike(self) -> None:
        """Give all ranks the first one's dense parameters: other kinds of CPU round otherwise, draws included, and
        over many steps that adds up."""
        for p in self.parameters():
            self.ranks.spread(p.detach())

    def beta(self, l: int) -> float:
        return self.factors.beta_readout if l == self.depth + 1 else self.factors.beta

    @torch.no_grad()
    def traced(self, x: Tensor, upto: int, keep: bool = True):
        """The last g, and to keep for a backward pass per growing layer up to ``upto`` (unit, s, trace)."""
        c, trace = self.factors, []
        g = c.alpha_1 * (x @ self.A1 + c.beta * self.b[0])
        for l, layer in enumerate(self.layers[: upto - 1], start=2):
            unit, s = unit_rows(g)
            g, kept = layer.forward(unit, s, keep)
            g += self.beta(l) * self.b[l - 1]
            trace.append((unit, s, kept))
        return g, trace

    def _values(self, x: Tensor, upto: int) -> Tensor:
        """The last g alone, of any number of inputs (n, d)."""
        return torch.cat([self.traced(part, upto, keep=False)[0] for part in x.split(AT_ONCE)])

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """f (n, k) of inputs (n, d)."""
        return self.factors.alpha_out * self._values(x, self.depth + 1)

    def forward(self, x: Tensor) -> Tensor:
        """f (..., k) of inputs (..., d), differentiable by them; of parameters, backward leaves an update here."""
        return outputs(self, x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)

    def receive(self, x: Tensor, cotangent: Tensor) -> None:
        """Keep the update of a loss's backward pass, from its cotangents (n, k) at x (n, d), for an optimizer.

        Raises InfwidthError if there is none that would take it.
        """
        if self.received is not None:
            self.received.append(self.linearized(x)[1](cotangent))
            return
        raise InfwidthError(
            "a pi-limit's gradient is rows to append, and nothing takes them from loss.backward(); make an "
            "infwidth.SGD(net, rate) before it and call its step() after it, or take outputs, pullback = "
            "net.linearized(x) and net.apply_update(pullback(d loss / d outputs), rate)."
        )

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """g^L (examples, r): the last hidden representation's coordinates."""
        return self._values(x, self.depth)

    @torch.no_grad()
    def feature_kernel(self, rows: Tensor, columns: Tensor) -> Tensor:
        """V of the cosines of g^L (n, m): the limit of a sampled network's, half the cosines of relu(h^L)."""
        return relu_v(rows @ columns.mT)

    @torch.no_grad()
    def linearized(self, x: Tensor):
        """Outputs (b, k) and the pullback of their cotangents to a PiUpdate, which can be called once."""
        c = self.factors
        g, trace = self.traced(x, self.depth + 1)

        @torch.no_grad()
        def pullback(cotangent: Tensor) -> PiUpdate:
            rows, biases = {}, {}
            for l, (dg, unit, s) in self.cotangents(c.alpha_out * cotangent, trace, self.depth + 1).items():
                if l > 1:
                    rows[l], biases[l] = (dg * s[:, None], unit), self.beta(l) * dg.sum(0)
                else:
                    biases[1] = c.alpha_1 * c.beta * dg.sum(0)
                    first = x.mT @ (c.alpha_1 * dg)
            return PiUpdate(first, rows, biases, self.uncounted())

        return c.alpha_out * g, pullback

    def uncounted(self) -> tuple[str, ...]:
        """Parameters that are left out of the norm for clipping."""
        return () if self.readout_in_norm else (f"A{self.depth + 1}", f"b{self.depth + 1}")

    @torch.no_grad()
    def cotangents(self, dg: Tensor, trace, top: int) -> dict[int, tuple[Tensor, Tensor | None, Tensor | None]]:
        """(dg^l, unit^{l-1}, s^{l-1}) for l = top .. 1 from dg^top (b, r) and the trace of a pass up to it."""
        found = {}
        for l in range(top, 1, -1):
            unit, s, kept = trace[l - 2]
            found[l] = (dg, unit, s)
            dg = self.layers[l - 2].backward(dg, unit, kept)
        return found | {1: (dg, None, None)}

    @torch.no_grad()
    def input_cotangent(self, x: Tensor, cotangent: Tensor) -> Tensor:
        """The cotangent of the inputs (n, d) for that of the outputs (n, k)."""
        c, parts = self.factors, []
        for some, at_output in zip(x.split(AT_ONCE), cotangent.split(AT_ONCE), strict=True):
            _, trace = self.traced(some, self.depth + 1)
            dg, _, _ = self.cotangents(c.alpha_out * at_output, trace, self.depth + 1)[1]
            parts.append(c.alpha_1 * dg @ self.A1.mT)
        return torch.cat(parts)

    def gradient(self, x: Tensor, cotangent: Tensor) -> PiUpdate:
        return self.linearized(x.flatten(0, -2))[1](cotangent.flatten(0, -2))

    def _multiplier(self, l: int) -> float:
        return {1: self.factors.first, self.depth + 1: self.factors.readout}.get(l, 1.0)

    @torch.no_grad()
    def apply_update(self, update: PiUpdate, rate: float, decay: float = 0.0) -> None:
        c = self.factors
        # A frozen readout is not trained at all: no row is appended, nothing decays, and its bias stays.
        last = self.depth + 1 if c.readout else self.depth

        def kept(multiplier: float) -> float:
            return 1 - rate * decay * (multiplier if c.decay_follows else 1.0)

        self.A1.mul_(kept(c.first)).addcmul_(
            update.first, self.A1.new_ones(()) * update.factor("A1"), value=-rate * c.first
        )
        for l, layer in enumerate(self.layers[: last - 1], start=2):
            multiplier = self._multiplier(l)
            if decay:
                layer.decay(kept(multiplier))
                if self.bounded:
                    self.bounded.decayed(l - 2, kept(multiplier))
            A, B = update.rows[l]
            if self.bounded:
                self.bounded.before_append(l - 2, layer, B)
            layer.append(A, B, A.new_full((len(A),), -rate * multiplier) * update.factor(f"A{l}"))
        for l, b in enumerate(self.b[:last], start=1):
            b.mul_(kept(c.bias)).sub_(rate * c.bias * update.factor(f"b{l}") * update.biases[l])

    def adapted(
        self,
        support: Tensor,
        cotangent: Cotangent,
        rate: float,
        steps: int,
        second_order: bool = False,
        which: str = "all",
    ) -> Adapted:
        if not second_order:
            return AdaptedPi(self, support, cotangent, rate, steps, which)
        if which != "readout":
            raise ConfigError(
                "second order through the adaptation of a pi-limit is through the readout alone; take which='readout', "
                "or first order."
            )
        if self.factors.readout or not self._zero_readout():
            raise ConfigError(
                "second order through the adaptation of a pi-limit needs a readout that is frozen at zero between "
                "episodes; set model.readout=zero and model.readout_multiplier=0, or take first order."
            )
        return AdaptedReadout(PiReadout(self), support, cotangent, rate, steps, second_order)

    def _zero_readout(self) -> bool:
        """Whether outputs are the readout's bias."""
        adds = not all(block.adds_nothing() for block in self.layers[-1].blocks)
        return not self.ranks.any(adds)[0]

    def readout_features(self, x: Tensor) -> Tensor | None:
        """g^L, of a limit whose readout is zero but for its bias."""
        return self.features(x) if self._zero_readout() else None

    def adapted_readout(
        self, support: Tensor, cotangent: Cotangent, rate: float, steps: int
    ) -> Callable[[Tensor], Tensor]:
        return adapted_from(PiReadout(self), support, cotangent, rate, steps)

    def end_of_epoch(self, held_out: Callable[[], Tensor] | None) -> dict[str, float]:
        """Projects the rows where they are bounded by the epoch; how many there are now, and what is known of
        projections, by name."""
        self.have_alike()
        projections = self.bounded.end_of_epoch(self, held_out) if self.bounded else {}
        return {f"rows_{l}": float(layer.rows) for l, layer in enumerate(self.layers, start=2)} | projections

    def snapshot(self) -> dict[str, Tensor]:
        """What training changes of what there is now: the dense parameters, and every growing layer's multipliers.

        Rows are appended and never moved, so that the snapshot needs none of them; but all, if they are projected.
        """
        if self.bounded:
            return super().snapshot()
        dense = {name: p.detach().clone() for name, p in self.named_parameters()}
        return dense | {f"layers.{i}.m": layer.multipliers() for i, layer in enumerate(self.layers)}

    @torch.no_grad()
    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        if self.bounded:
            for layer in self.layers:  # before the rows of the snapshot are laid out anew
                layer.drop(layer.rows)
            super().restore(snapshot)
            return
        for name, p in self.named_parameters():
            p.copy_(snapshot[name])
        for i, layer in enumerate(self.layers):
            layer.go_back_to(snapshot[f"layers.{i}.m"])

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state made by :meth:`state`; CheckpointError, and nothing changed, if it is of another model.

        Tensors are asked for once and block by block, so that rows that are read from a file as they are asked for are
        held once.
        """
        places = {f"layers.{i}.": layer for i, layer in enumerate(self.layers)}
        dense = dict(self.named_parameters()) | dict(self.named_buffers())
        known = set(dense).union(*(layer.names(state, prefix) for prefix, layer in places.items()))
        if not self.bounded:  # the function of a bounded limit is in its rows; what it was bounded by is of no concern
            known |= {name for name in state if name.startswith("bounded.")}
        if wrong := known ^ set(state):
            raise CheckpointError(
                f"the checkpoint does not fit the model: {min(wrong)} is missing or of another model."
            )
        values = {name: state[name] for name in dense}
        for name, p in dense.items():
            if values[name].shape != p.shape:
                raise CheckpointError(f"the checkpoint does not fit the model: {name} is of another shape.")
        found = {prefix: layer.read(state, prefix) for prefix, layer in places.items()}
        for name, p in dense.items():
            p.copy_(values[name])
        for prefix, layer in places.items():
            layer.take(found[prefix])

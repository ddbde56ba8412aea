"""The pi-limit of a deep ReLU network (PiLim): a network whose gradients are appended, not added.

    g^1 = alpha_1 (X A^1 + beta b^1)
    g^l = (s V(q) * m^l) A^l + beta b^l,   s = |g^{l-1}|,   q = g^{l-1} B^lᵀ / s,   l = 2..L+1
    out = alpha_out g^{L+1}

A^1 (d, r) is dense; A^l, B^l, m^l of l = 2..L+1 grow by a row for every training example. A step appends the rows
(dA, g^{l-1}/s) with multiplier -rate mu_l, the gradient in function space, and shrinks the old multipliers by weight decay.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from infwidth.errors import CheckpointError, ConfigError
from infwidth.gaussian import relu_v
from infwidth.models.contract import Adapted, Cotangent, Model
from infwidth.models.mlp.multipliers import Factors
from infwidth.models.pi.adapted import AdaptedPi
from infwidth.models.pi.growing import GrowingLayer, unit_rows
from infwidth.models.pi.update import PiUpdate
from infwidth.models.readout import AdaptedReadout, adapted_from

AT_ONCE = 1000
"""Inputs that are evaluated together: their tiles are as wide as a block of rows is long."""


class PiLimit(Model):
    """The pi-limit with the given initial arrays.

    A1 (d, r); layers: GrowingLayer for l = 2..L+1; biases: b^l (r,), readout (k,), float dtype of A1. readout_in_norm: whether the
    readout's gradient counts for the norm that is clipped.
    """

    def __init__(
        self,
        A1: Tensor,
        layers: list[GrowingLayer],
        biases: list[Tensor],
        factors: Factors,
        readout_in_norm: bool = True,
    ):
        super().__init__()
        self.A1 = nn.Parameter(A1)
        self.layers, self.factors, self.readout_in_norm, self.depth = layers, factors, readout_in_norm, len(layers)
        self.b = nn.ParameterList([nn.Parameter(b) for b in biases])

    def _beta(self, l: int) -> float:
        return self.factors.beta_readout if l == self.depth + 1 else self.factors.beta

    @torch.no_grad()
    def _pass(self, x: Tensor, upto: int, keep: bool = True):
        """The last g, and to keep for a backward pass per growing layer up to ``upto`` (unit, s, traces)."""
        c, trace = self.factors, []
        g = c.alpha_1 * (x @ self.A1 + c.beta * self.b[0])
        for l, layer in enumerate(self.layers[: upto - 1], start=2):
            unit, s = unit_rows(g)
            g, traces = layer.forward(unit, s, keep)
            g += self._beta(l) * self.b[l - 1]
            trace.append((unit, s, traces))
        return g, trace

    def _values(self, x: Tensor, upto: int) -> Tensor:
        """The last g alone, of any number of inputs (n, d)."""
        return torch.cat([self._pass(part, upto, keep=False)[0] for part in x.split(AT_ONCE)])

    def forward(self, x: Tensor) -> Tensor:
        return (self.factors.alpha_out * self._values(x.reshape(-1, x.shape[-1]), self.depth + 1)).reshape(
            *x.shape[:-1], -1
        )

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """g^L (examples, r): the last hidden representation's coordinates."""
        return self._values(x, self.depth)

    @torch.no_grad()
    def feature_kernel(self, x: Tensor) -> Tensor:
        """V of the cosines of g^L (n, n): the limit of a sampled network's, half the cosines of relu(h^L)."""
        unit, _ = unit_rows(self.features(x))
        return relu_v(unit @ unit.mT)

    @torch.no_grad()
    def linearized(self, x: Tensor):
        """Outputs (b, k) and the pullback of their cotangents to a PiUpdate."""
        c = self.factors
        g, trace = self._pass(x, self.depth + 1)

        def pullback(cotangent: Tensor) -> PiUpdate:
            rows, biases = {}, {}
            dg = c.alpha_out * cotangent
            for l in range(self.depth + 1, 1, -1):
                unit, s, traces = trace[l - 2]
                rows[l] = (dg * s[:, None], unit)
                biases[l] = self._beta(l) * dg.sum(0)
                dg = self.layers[l - 2].backward(dg, unit, traces)
            biases[1] = c.alpha_1 * c.beta * dg.sum(0)
            return PiUpdate(x.mT @ (c.alpha_1 * dg), rows, biases, self.uncounted())

        return c.alpha_out * g, pullback

    def uncounted(self) -> tuple[str, ...]:
        """Parameters that are left out of the norm for clipping."""
        return () if self.readout_in_norm else (f"A{self.depth + 1}", f"b{self.depth + 1}")

    @torch.no_grad()
    def cotangents(self, dg: Tensor, trace) -> dict[int, tuple[Tensor, Tensor | None, Tensor | None]]:
        """(dg^l, unit^{l-1}, s^{l-1}) for l = L .. 1 from dg^L (b, r) and the trace of a pass up to layer L."""
        found = {}
        for l in range(self.depth, 1, -1):
            unit, s, traces = trace[l - 2]
            found[l] = (dg, unit, s)
            dg = self.layers[l - 2].backward(dg, unit, traces)
        return found | {1: (dg, None, None)}

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
            A, B = update.rows[l]
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
                "second order through the adaptation of a pi-limit is through the readout alone; take which='readout', or "
                "first order."
            )
        self._require_frozen_readout()
        return AdaptedReadout(self, support, cotangent, rate, steps, second_order)

    def _require_frozen_readout(self) -> None:
        if self.factors.readout or any(A.any() for A, _, m in self.layers[-1].tiles() if m.any()):
            raise ConfigError(
                "second order through the adaptation of a pi-limit needs a readout that is frozen at zero between episodes; "
                "set model.readout=zero and model.readout_multiplier=0, or take first order."
            )

    def readout_features(self, x: Tensor) -> Tensor | None:
        """g^L, of a limit whose readout is zero but for its bias."""
        return None if any(A.any() for A, _, m in self.layers[-1].tiles() if m.any()) else self.features(x)

    def adapted_readout(
        self, support: Tensor, cotangent: Cotangent, rate: float, steps: int
    ) -> Callable[[Tensor], Tensor]:
        return adapted_from(self, support, cotangent, rate, steps)

    def hidden_with_trace(self, x: Tensor):
        return self._pass(x, self.depth)

    def readout_of(self, features: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The bias: the readout is zero."""
        bias = self.factors.alpha_out * self.factors.beta_readout * self.b[-1].detach()
        return bias.expand(*features.shape[:-1], -1)

    def readout_parameters(self) -> dict[str, Tensor]:
        return {}

    def readout_kernel(self, features: Tensor, others: Tensor) -> Tensor:
        """alpha_out^2 s s' V(unit . unit')."""
        tiny = torch.finfo(features.dtype).tiny
        s, t = (g.norm(dim=-1).clamp(min=tiny) for g in (features, others))
        cosines = torch.matmul(features / s[..., None], (others / t[..., None]).mT)
        return self.factors.alpha_out**2 * s[..., None] * relu_v(cosines) * t[..., None, :]

    @property
    def readout_constant(self) -> float:
        return (self.factors.alpha_out * self.factors.beta_readout) ** 2

    @torch.no_grad()
    def hidden_update(self, x: Tensor, at_features: Tensor, trace, readout, query) -> PiUpdate:
        """As in :class:`infwidth.models.readout.Readout`."""
        features, at_output = query
        unit, s = unit_rows(features.flatten(0, 1))
        rows, first = (
            {
                self.depth + 1: [
                    (self.factors.alpha_out * at_output, unit.reshape(features.shape), s.reshape(features.shape[:2]))
                ]
            },
            [],
        )
        for l, (dg, unit, s) in self.cotangents(at_features.flatten(0, 1), trace).items():
            if l > 1:
                rows[l] = [(dg.reshape(*x.shape[:2], -1), unit.reshape(*x.shape[:2], -1), s.reshape(x.shape[:2]))]
            else:
                first.append((x, dg.reshape(*x.shape[:2], -1)))
        return self.joined_update(first, rows)

    def joined_update(
        self, first: list[tuple[Tensor, Tensor]], points: dict[int, list[tuple[Tensor, Tensor, Tensor]]]
    ) -> PiUpdate:
        """An update from what each layer gets: (x, dg^1) for A^1; (dg^l, unit, s) of every kind of point, joined episode by episode."""
        c, rows, biases = self.factors, {}, {}
        for l, kinds in points.items():
            A = torch.cat([d * s[..., None] for d, _, s in kinds], 1).flatten(0, 1)
            B = torch.cat([unit for _, unit, _ in kinds], 1).flatten(0, 1)
            rows[l], biases[l] = (A, B), self._beta(l) * sum(d.sum((0, 1)) for d, _, _ in kinds)
        biases[1] = c.alpha_1 * c.beta * sum(d.sum((0, 1)) for _, d in first)
        A1 = c.alpha_1 * sum(x.flatten(0, 1).mT @ d.flatten(0, 1) for x, d in first)
        return PiUpdate(A1, rows, biases, self.uncounted())

    def state(self) -> dict[str, Tensor]:
        """Dense tensors, and every block of every growing layer in use (views, not copies)."""
        found = {"A1": self.A1.detach()} | {f"b{l}": b.detach() for l, b in enumerate(self.b, start=1)}
        for l, layer in enumerate(self.layers, start=2):
            for i, (A, B, m) in enumerate(layer.tiles()):
                found |= {f"A{l}.{i}": A, f"B{l}.{i}": B, f"m{l}.{i}": m}
        return found

    def snapshot(self) -> dict[str, Tensor]:
        """Rows are appended and never moved, so that of the growing arrays only the multipliers need a copy."""
        return {
            name: value if name[0] in "AB" and "." in name else value.clone() for name, value in self.state().items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        try:
            with torch.no_grad():
                self.A1.copy_(state["A1"])
                for l, b in enumerate(self.b, start=1):
                    b.copy_(state[f"b{l}"])
            for l, layer in enumerate(self.layers, start=2):
                blocks = range(sum(k.startswith(f"A{l}.") for k in state))
                if not blocks or state[f"A{l}.0"].shape[1] != layer.outputs:
                    raise KeyError(f"A{l}")
                device, before = layer.device, layer.blocks
                layer.blocks = []
                for i in blocks:
                    A, B, m = (state[f"{name}{l}.{i}"] for name in ("A", "B", "m"))
                    if (
                        i < len(before) and A.data_ptr() == before[i].A.data_ptr()
                    ):  # a snapshot of these very arrays: nothing is copied
                        before[i].rows = len(A)
                        before[i].m[: len(A)] = m
                        layer.blocks.append(before[i])
                    else:
                        layer.append(A.to(device), B.to(device), m.to(device))
        except (KeyError, RuntimeError) as e:
            raise CheckpointError(f"the checkpoint does not fit the model: {e}.") from e

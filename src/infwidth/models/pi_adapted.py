"""MAML over a pi-limit: each episode appends rows of its own, which are dropped when the query gradient has been taken.

All episodes of a meta-batch share the base rows, so every pass over these serves all of them; an episode's own rows are few and are
taken in batched products. Adaptation ignores the layers' multipliers of the learning rate.

Second order is through the readout alone, where it is frozen at zero between episodes: the hidden features of support and query are
then all that the adapted outputs depend on, and autograd through the unrolled adaptation of those few numbers is exact.
"""

import torch
from torch import Tensor

from infwidth.errors import ConfigError
from infwidth.gaussian import TWO_PI, relu_v, relu_v_step_v_root
from infwidth.models.contract import ADAPTING, Adapted, Cotangent
from infwidth.models.growing import unit_rows
from infwidth.models.pi import PiLimit, PiUpdate

def _units(g: Tensor) -> tuple[Tensor, Tensor]:
    unit, s = unit_rows(g.flatten(0, 1))
    return unit.reshape(g.shape), s.reshape(g.shape[:2])


class AdaptedPi(Adapted):
    """A PiLimit after ``steps`` of SGD on each episode's support (T, S, d); first-order pullbacks."""

    def __init__(self, net: PiLimit, support: Tensor, cotangent: Cotangent, rate: float, steps: int, which: str = "all"):
        self.net, self.hidden, self.readout = net, *ADAPTING[which]
        T = len(support)
        self.first: list[tuple[Tensor, Tensor]] = []  # (x, -rate alpha_1 dg^1) of each step: A^1 moves by sums of their outer products
        self.rows: list[list[tuple[Tensor, Tensor]]] = [[] for _ in net.layers]  # (weights, unit rows) of each step
        self.bias = [torch.zeros(T, len(b), dtype=b.dtype, device=b.device) for b in net.b]
        for _ in range(steps):
            out, trace = self._pass(support)
            self._step(support, cotangent(out), trace, rate)

    @torch.no_grad()
    def _pass(self, x: Tensor):
        """Outputs (T, n, k) and per growing layer (unit, s, base correlations)."""
        net, c, trace = self.net, self.net.factors, []
        g = c.alpha_1 * (x @ net.A1 + c.beta * (net.b[0] + self.bias[0][:, None]))
        for other, weights in self.first:
            g += c.alpha_1 * torch.bmm(torch.bmm(x, other.mT), weights)
        for l, layer in enumerate(net.layers, start=2):
            unit, s = _units(g)
            flat, correlations = layer.forward(unit.flatten(0, 1), s.flatten())
            g = flat.reshape(*x.shape[:2], -1)
            for weights, rows in self.rows[l - 2]:
                g += s[..., None] * torch.bmm(relu_v(torch.bmm(unit, rows.mT)), weights)
            g += net._beta(l) * (net.b[l - 1] + self.bias[l - 1][:, None])
            trace.append((unit, s, correlations))
        return c.alpha_out * g, trace

    @torch.no_grad()
    def _cotangents(self, delta: Tensor, trace, lowest: int = 1) -> dict[int, Tensor]:
        """dg^l (T, n, r) for l = L+1 .. lowest."""
        net = self.net
        found = {net.depth + 1: net.factors.alpha_out * delta}
        for l in range(net.depth + 1, lowest, -1):
            unit, _, correlations = trace[l - 2]
            dg = found[l]
            below = net.layers[l - 2].backward(dg.flatten(0, 1), unit.flatten(0, 1), correlations).reshape(unit.shape)
            for weights, rows in self.rows[l - 2]:
                _, step, root = relu_v_step_v_root(torch.bmm(unit, rows.mT))
                gamma = torch.bmm(dg, weights.mT) / TWO_PI
                below += torch.bmm(gamma * step, rows) + (gamma * root).sum(2, keepdim=True) * unit
            found[l - 1] = below
        return found

    def _step(self, x: Tensor, delta: Tensor, trace, rate: float) -> None:
        net, c = self.net, self.net.factors
        dg = self._cotangents(delta, trace, 1 if self.hidden else net.depth + 1)
        for l in range(2, net.depth + 2):
            if self.readout if l == net.depth + 1 else self.hidden:
                unit, s, _ = trace[l - 2]
                self.rows[l - 2].append((-rate * dg[l] * s[..., None], unit))
                self.bias[l - 1] = self.bias[l - 1] - rate * net._beta(l) * dg[l].sum(1)
        if self.hidden:
            self.first.append((x, -rate * c.alpha_1 * dg[1]))
            self.bias[0] = self.bias[0] - rate * c.alpha_1 * c.beta * dg[1].sum(1)

    def __call__(self, query: Tensor) -> Tensor:
        return self._pass(query)[0]

    def linearized(self, query: Tensor):
        out, trace = self._pass(query)

        def pullback(cotangent: Tensor) -> PiUpdate:
            dg = self._cotangents(cotangent, trace)
            points = {l: [(dg[l], trace[l - 2][0], trace[l - 2][1])] for l in range(2, self.net.depth + 2)}
            return meta_update(self.net, [(query, dg[1])], points, dg)

        return out, pullback


def meta_update(net: PiLimit, first: list[tuple[Tensor, Tensor]], points: dict[int, list[tuple[Tensor, Tensor, Tensor]]], dg: dict[int, Tensor]) -> PiUpdate:
    """An update from what each layer gets: (x, dg^1) for A^1; (dg^l, unit, s) of every kind of point, joined episode by episode."""
    c = net.factors
    rows, biases = {}, {}
    for l, kinds in points.items():
        A = torch.cat([d * s[..., None] for d, _, s in kinds], 1).flatten(0, 1)
        B = torch.cat([unit for _, unit, _ in kinds], 1).flatten(0, 1)
        rows[l] = (A, B)
        biases[l] = net._beta(l) * sum(d.sum((0, 1)) for d, _, _ in kinds)
    biases[1] = c.alpha_1 * c.beta * sum(d.sum((0, 1)) for _, d in first)
    A1 = c.alpha_1 * sum(x.flatten(0, 1).mT @ d.flatten(0, 1) for x, d in first)
    return PiUpdate(A1, rows, biases, net.uncounted())


class SecondOrderPi(Adapted):
    """Readout-only adaptation of a PiLimit whose readout is frozen at zero; pullbacks go through the adaptation."""

    def __init__(self, net: PiLimit, support: Tensor, cotangent: Cotangent, rate: float, steps: int):
        if net.factors.readout or any(A.any() for A, _, m in net.layers[-1].tiles() if m.any()):
            raise ConfigError(
                "second-order MAML of the pi-limit goes through a readout that is frozen at zero between episodes; set model.readout=zero and "
                "model.readout_multiplier=0, or task.adaptation.order=first."
            )
        self.net, self.support, self.cotangent, self.rate, self.steps = net, support, cotangent, rate, steps
        self.g_support, self.trace_support = self._hidden(support)

    def _hidden(self, x: Tensor):
        g, trace = self.net._pass(x.flatten(0, 1), self.net.depth)
        return g.reshape(*x.shape[:2], -1), trace

    def _outputs(self, g_support: Tensor, g_query: Tensor) -> Tensor:
        """Adapted outputs at the query (T, Q, k) as a function of the hidden g^L, differentiable by both."""
        c, net = self.net.factors, self.net
        s_norm, q_norm = (g.norm(dim=2).clamp(min=torch.finfo(g.dtype).tiny) for g in (g_support, g_query))
        unit_s, unit_q = g_support / s_norm[..., None], g_query / q_norm[..., None]
        at_support = s_norm[..., None] * relu_v(torch.bmm(unit_s, unit_s.mT)) * s_norm[:, None]
        at_query = q_norm[..., None] * relu_v(torch.bmm(unit_q, unit_s.mT)) * s_norm[:, None]
        bias = c.alpha_out * c.beta_readout * net.b[-1].detach()
        moved = torch.zeros(*g_support.shape[:2], len(net.b[-1]), dtype=g_support.dtype, device=g_support.device)
        for _ in range(self.steps):
            # The bias is a row whose feature is beta_readout everywhere.
            f = bias + c.alpha_out**2 * (torch.bmm(at_support, moved) + c.beta_readout**2 * moved.sum(1, keepdim=True))
            moved = moved - self.rate * self.cotangent(f)
        return bias + c.alpha_out**2 * (torch.bmm(at_query, moved) + c.beta_readout**2 * moved.sum(1, keepdim=True))

    @torch.no_grad()
    def __call__(self, query: Tensor) -> Tensor:
        return self._outputs(self.g_support, self._hidden(query)[0])

    def linearized(self, query: Tensor):
        net = self.net
        g_query, trace_query = self._hidden(query)
        leaves = [g.detach().requires_grad_() for g in (self.g_support, g_query)]
        with torch.enable_grad():
            out = self._outputs(*leaves)

        def pullback(cotangent: Tensor) -> PiUpdate:
            at_support, at_query = torch.autograd.grad(out, leaves, cotangent)
            unit, s = _units(g_query)
            points = {net.depth + 1: [(net.factors.alpha_out * cotangent, unit, s)]}
            dg = {"query": (at_query, query, trace_query), "support": (at_support, self.support, self.trace_support)}
            first = []
            for d, x, trace in dg.values():
                below = net.cotangents(d.flatten(0, 1), trace)
                for l, (each, unit_l, s_l) in below.items():
                    shape = x.shape[:2]
                    if l > 1:
                        points.setdefault(l, []).append((each.reshape(*shape, -1), unit_l.reshape(*shape, -1), s_l.reshape(shape)))
                    else:
                        first.append((x, each.reshape(*shape, -1)))
            return meta_update(net, first, points, {})

        return out.detach(), pullback

"""What a pi-limit offers where its readout alone adapts, as in :class:`infwidth.models.readout.Readout`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from infwidth.gaussian import relu_v
from infwidth.models.pi.growing import unit_rows
from infwidth.models.pi.update import PiUpdate, joined

if TYPE_CHECKING:
    from infwidth.models.pi.limit import PiLimit


class PiReadout:
    """The readout of a pi-limit, which between episodes is zero but for its bias; features are g^L."""

    def __init__(self, net: PiLimit):
        self.net = net

    def hidden_with_trace(self, x: Tensor):
        return self.net.traced(x, self.net.depth)

    def readout_of(self, features: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The bias."""
        c = self.net.factors
        bias = c.alpha_out * c.beta_readout * self.net.b[-1].detach()
        return bias.expand(*features.shape[:-1], -1)

    def readout_parameters(self) -> dict[str, Tensor]:
        return {}

    def readout_kernel(self, features: Tensor, others: Tensor) -> Tensor:
        """alpha_out^2 s s' V(unit . unit')."""
        tiny = torch.finfo(features.dtype).tiny
        s, t = (g.norm(dim=-1).clamp(min=tiny) for g in (features, others))
        cosines = torch.matmul(features / s[..., None], (others / t[..., None]).mT)
        return self.net.factors.alpha_out**2 * s[..., None] * relu_v(cosines) * t[..., None, :]

    @property
    def readout_constant(self) -> float:
        return (self.net.factors.alpha_out * self.net.factors.beta_readout) ** 2

    @torch.no_grad()
    def hidden_update(self, x: Tensor, at_features: Tensor, trace, readout, query) -> PiUpdate:
        net, episodes = self.net, x.shape[:2]
        features, at_output = query
        unit, s = unit_rows(features.flatten(0, 1))
        at_query = (
            net.factors.alpha_out * at_output,
            unit.reshape(features.shape),
            s.reshape(features.shape[:2]),
        )
        points, first = {net.depth + 1: [at_query]}, []
        for l, (dg, unit, s) in net.cotangents(at_features.flatten(0, 1), trace, net.depth).items():
            dg = dg.reshape(*episodes, -1)
            if l > 1:
                points[l] = [(dg, unit.reshape(*episodes, -1), s.reshape(episodes))]
            else:
                first.append((x, dg))
        return joined(net, first, points)

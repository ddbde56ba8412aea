"""The finite pi-net: a ReLU network drawn from a pi-limit, whose gradients are projected as the limit's are (PiLim).

    h^1 = alpha_1 (W^1 x + beta b^1),   h^l = W^l relu(h^{l-1}) + beta b^l
    out = alpha_out (W^{L+1} relu(h^L) + beta b^{L+1})

Gradients of layers 1..L, weights and biases, are projected to the span of the columns of Omega^l (n, r) before norms
and clipping: G <- Omega (Omegaᵀ Omega)^{-1} Omegaᵀ G. As n grows at fixed r the network approaches the limit, at every
step of training. With r >= n the projection is the identity.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from infwidth.models.mlp.net import MLP
from infwidth.models.pi.growing import relu_features
from infwidth.models.pi.limit import PiLimit


def sampled(limit: PiLimit, width: int, generator: torch.Generator, omegas: Sequence[Tensor] | None = None) -> MLP:
    """A width-n network drawn from a pi-limit at any moment of its training; omegas: the Gaussians (n, r), if given."""
    rank, dtype = limit.A1.shape[1], limit.A1.dtype
    if omegas is None:
        omegas = [torch.randn(width, rank, generator=generator, dtype=dtype) for _ in range(limit.depth)]
    root = math.sqrt(width)
    weights = [(omegas[0] @ limit.A1.detach().mT) / root]
    for l, layer in enumerate(limit.layers, start=2):
        # Omega^{l-1} holds the hidden layer below in the basis of its Gaussians: relu of it are random features.
        below = relu_features(layer, omegas[l - 2])
        weights.append(omegas[l - 1] @ below / width if l <= limit.depth else below / root)
    multipliers = limit.factors.multipliers(limit.depth, frozen_readout=not limit.readout_in_norm)
    biases = [*(omegas[l] @ b.detach() / root for l, b in enumerate(limit.b[:-1])), limit.b[-1].detach().clone()]
    return MLP(
        weights,
        [b if c else None for b, c in zip(biases, multipliers.biases, strict=True)],
        multipliers,
        "relu",
        omegas,
    )

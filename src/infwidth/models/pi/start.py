"""How a pi-limit starts."""

import math
from typing import Literal

import torch

from infwidth.models.mlp.multipliers import Factors
from infwidth.models.pi.bounded import Bounded
from infwidth.models.pi.growing import GrowingLayer, sphere
from infwidth.models.pi.limit import PiLimit
from infwidth.ranks import ALONE, Ranks


def pi_limit(
    inputs: int,
    outputs: int,
    rank: int,
    depth: int,
    factors: Factors,
    readout_zero: bool,
    readout_in_norm: bool,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    storage: torch.dtype | None = None,
    landmarks: Literal["epoch"] | int | None = None,
    older: float = 1.0,
    ranks: Ranks = ALONE,
) -> PiLimit:
    """A fresh pi-limit: A^1 with unit Gaussian columns, M_0 = r rows, B on the sphere.

    Hidden A ~ N(0, 1/M_0), the readout's N(0, 1/M_0^2) or zero. With rank = inputs A^1, the hidden A^l and every B^l
    are identities and the readout is zero. landmarks, older: as :class:`infwidth.models.pi.bounded.Bounded` takes them.
    ranks: the rows are dealt out to them; ConfigError if they are more than there are rows to begin with.
    """
    ranks.require_at_most(rank, "rows that a growing layer begins with (model.rank)")
    identity = rank == inputs
    if identity:
        A1 = torch.eye(inputs, dtype=dtype)
    else:
        A1 = torch.randn(inputs, rank, generator=generator, dtype=dtype)
        A1 /= A1.norm(dim=0)
    layers = []
    for l in range(2, depth + 2):
        B = torch.eye(rank, dtype=dtype) if identity else sphere(rank, rank, generator, dtype)
        m = torch.ones(rank, dtype=dtype)
        if l <= depth:
            A = (
                torch.eye(rank, dtype=dtype)
                if identity
                else torch.randn(rank, rank, generator=generator, dtype=dtype) / math.sqrt(rank)
            )
        elif readout_zero or identity:
            A, B, m = torch.zeros(1, outputs, dtype=dtype), B[:1], torch.zeros(1, dtype=dtype)
        else:
            A = torch.randn(rank, outputs, generator=generator, dtype=dtype) / rank
        layers.append(GrowingLayer(A, B, m, dtype, storage, ranks=ranks))
    biases = [torch.zeros(rank if l <= depth else outputs, dtype=dtype) for l in range(1, depth + 2)]
    bounded = None if landmarks is None else Bounded(landmarks, older, [layer.rows for layer in layers])
    return PiLimit(A1, layers, biases, factors, readout_in_norm, bounded)

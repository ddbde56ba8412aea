"""Rows of a growing layer projected onto other rows: the best approximation of what they add, and its error.

A layer is f(g) = sum_i c_i k(g, B_i) with c_i = m_i A_i and k(g, b) = |g| V(g.b / |g|), in the space H of that kernel.
Rows (B, c) are replaced by landmarks Z with coefficients

    P = (V(Z Zᵀ) + eps I)^{-1} V(Z Bᵀ) c,        E = cᵀ V(B Bᵀ) c - Pᵀ V(Z Bᵀ) c - eps Pᵀ P

where E (k, k) is the Gram matrix in H of the difference that this makes to the outputs. As V(1) = V'(1) = 1/2, outputs
move by at most |g| sqrt(lambda / 2) and the Jacobian by sqrt(lambda / 2), lambda the largest eigenvalue of E.

All of it in tiles, sums over rows in float64. The one array that is large is V(Z Zᵀ), factorised in place. At 10,000
landmarks of rank 400 a Cholesky factor is what costs least: conjugate gradients that start from rows merged with their
nearest landmark, preconditioned by 2,000 of these, come as near after seven iterations of a third of its time each.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth import ridge
from infwidth.errors import ConfigError
from infwidth.gaussian import TWO_PI, relu_v_step_v_root_into

TILE = 1024
"""Rows and columns of a kernel's tile."""

RIDGE = 1e-4
"""eps as a share of V(1): far below what matters to the function, enough for rows that are there twice."""

RAISED = 10.0
"""What the ridge is multiplied by where the matrix is not positive definite in its precision."""


@dataclass(frozen=True)
class Projection:
    """coefficients P (p, k) float64; gram: E (k, k) float64; norm: of what is projected, in H; ridge: eps / V(1)."""

    coefficients: Tensor
    gram: Tensor
    norm: float
    ridge: float

    @property
    def error(self) -> float:
        """The distance in H, sqrt(tr E): the root of the sum over outputs of their squared errors."""
        return math.sqrt(max(self.gram.trace().item(), 0.0))

    @property
    def spectral_error(self) -> float:
        """The distance in H of the combination of outputs that is farthest, sqrt(lambda): the one that bounds."""
        return math.sqrt(max(torch.linalg.eigvalsh(self.gram)[-1].item(), 0.0))


def kernel(Z: Tensor, B: Tensor) -> Tensor:
    """V(Z Bᵀ) (p, n) of unit rows."""
    q = Z @ B.mT
    value, _, _ = relu_v_step_v_root_into(q, torch.empty_like(q), torch.empty_like(q))
    return value.div_(TWO_PI)


@torch.no_grad()
def evaluated(Z: Tensor, B: Tensor, c: Tensor) -> Tensor:
    """V(Z Bᵀ) c (p, k) float64: at unit rows Z the function of rows B with coefficients c."""
    out = torch.zeros(len(Z), c.shape[1], dtype=torch.float64, device=Z.device)
    for i in ridge.tiles(len(Z), TILE):
        for j in ridge.tiles(len(B), TILE):
            out[i] += (kernel(Z[i], B[j]) @ c[j]).double()
    return out


@torch.no_grad()
def gram(B: Tensor, c: Tensor) -> Tensor:
    """cᵀ V(B Bᵀ) c (k, k) float64, of one triangle of tiles."""
    out = torch.zeros(c.shape[1], c.shape[1], dtype=torch.float64, device=B.device)
    for i, j in _triangle(len(B)):
        part = (c[i].mT @ (kernel(B[i], B[j]) @ c[j])).double()
        out += part if i == j else part + part.mT
    return out


def _triangle(n: int) -> Iterator[tuple[slice, slice]]:
    slices = list(ridge.tiles(n, TILE))
    return ((i, j) for a, i in enumerate(slices) for j in slices[: a + 1])


@torch.no_grad()
def coefficients(Z: Tensor, values: Tensor, share: float) -> tuple[Tensor, float]:
    """(V(Z Zᵀ) + eps I)^{-1} values (p, k) float64 for values at Z, and eps / V(1): share, or more for a factor."""
    K = ridge.matrix(lambda i, j: kernel(Z[i], Z[j]), len(Z), Z)
    diagonal = _factorised(K, share / 2)
    if diagonal is None:
        del K  # before it is built again
        return coefficients(Z, values, RAISED * share)
    return ridge.solve(K, diagonal, share / 2, values, refinements=0), share


def _factorised(K: Tensor, eps: float) -> Tensor | None:
    """As :func:`infwidth.ridge.factorise`; None, and K of no use any more, where there is no factor.

    A function of its own, since an exception that is being handled keeps K alive.
    """
    try:
        return ridge.factorise(K, eps)
    except ConfigError:
        return None


@torch.no_grad()
def projected(Z: Tensor, B: Tensor, c: Tensor, share: float = RIDGE) -> Projection:
    """Rows B (n, r) with coefficients c (n, k) projected onto landmarks Z (p, r), all finite; share: eps / V(1)."""
    values = evaluated(Z, B, c)
    P, share = coefficients(Z, values, share)
    before = gram(B, c)
    E = before - P.mT @ values - share / 2 * (P.mT @ P)
    return Projection(P, (E + E.mT) / 2, math.sqrt(max(before.trace().item(), 0.0)), share)

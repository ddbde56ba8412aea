"""How linear networks start.

At finite width in an abc-parametrization, in the mu-limit, drawn from it, or in the basis of their span.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from infwidth.errors import ConfigError
from infwidth.models.cost import EVALUATION, START, TRAINING, Footprint, Shape, Sizes, Work
from infwidth.models.linear.net import LinearNet
from infwidth.parametrization import ABC
from infwidth.ranks import ALONE, Exchange, Ranks


def mu_limit(
    inputs: int,
    outputs: int,
    sigma_u: float,
    sigma_v: float,
    alpha: float = 1.0,
    dtype: torch.dtype = torch.float32,
    bags: bool = False,
    ranks: Ranks = ALONE,
) -> LinearNet:
    """The mu-limit itself, in coordinates with respect to the initial Gaussians: no sampling and no width.

    With sigma_v = 0 the last ``outputs`` coordinates never move and are left out. bags: lay U out for bags of indices.
    ranks: the coordinates are dealt out to them; ConfigError if there are more.
    """
    m = mu_limit_dimension(inputs, outputs, sigma_v)
    _require_coordinates(ranks, m, inputs)
    own = torch.arange(m)[ranks.own()]
    U, V = torch.zeros(inputs, len(own), dtype=dtype), torch.zeros(outputs, len(own), dtype=dtype)
    place, of_inputs = torch.arange(len(own)), own < inputs
    U[own[of_inputs], place[of_inputs]] = sigma_u
    V[own[~of_inputs] - inputs, place[~of_inputs]] = sigma_v
    return LinearNet(_laid_out(U, bags), V, torch.zeros(len(own), dtype=dtype), alpha, ranks=ranks)


def _require_coordinates(ranks: Ranks, m: int, inputs: int) -> None:
    ranks.require_at_most(m, f"coordinates of the hidden layer, which has {inputs} inputs")


def mu_limit_dimension(inputs: int, outputs: int, sigma_v: float) -> int:
    """How many coordinates the mu-limit has: d + k, or d if the readout starts at zero."""
    return inputs + outputs if sigma_v else inputs


def exchanged(sizes: Sizes, alpha: float, clipped: bool) -> Exchange:
    """What passes between ranks in a training step on bags: the outputs that are asked for, and the norms of U, V and,
    where it is trained, b."""
    outputs = Exchange(1, round(sizes.bags * (1 + sizes.shared)))
    return outputs + Exchange(1, 3 if alpha else 2) if clipped else outputs


def work(m: int, sizes: Sizes, itemsize: int) -> Work:
    """A training step on bags.

    Products with the outputs that all are asked for; columns of all members, the touched columns and rows, and those of
    each bag's own output, read and written.
    """
    flops = 2 * m * sizes.bags * 3 * sizes.shared
    moved = m * itemsize * (2 * sizes.members + 6 * (sizes.words + sizes.asked) + 10 * sizes.bags)
    return Work(flops, moved)


def state(m: int, shape: Shape, dtype: torch.dtype) -> int:
    """Bytes of U, V and b in m coordinates."""
    return m * (shape.inputs + shape.outputs + 1) * dtype.itemsize


def footprint(m: int, shape: Shape, sizes: Sizes | None, dtype: torch.dtype, made: int) -> Footprint:
    """A network in m coordinates, while which is made so many bytes are taken besides.

    A step on bags takes the columns and rows that they touch, their gradients and what becomes of them, and the hidden
    activations of all bags; on dense inputs a gradient of everything. A word's vector is taken with its unit vector.
    """
    held, activations = state(m, shape, dtype), 5 * m
    if sizes is not None:
        training = m * (3 * sizes.words + 3 * sizes.asked + 5 * sizes.bags)
    else:
        episode = 3 * m * shape.outputs
        training = held / dtype.itemsize + shape.batch * (shape.inputs + activations) + shape.episodes * episode
    evaluation = 3 * m * shape.at_once if shape.bags else shape.at_once * (shape.inputs + activations)
    evaluation += 3 * m * shape.outputs * shape.evaluated_episodes
    phases = {START: made, TRAINING: int(training) * dtype.itemsize, EVALUATION: evaluation * dtype.itemsize}
    return Footprint(held, held, phases, m)


def _laid_out(columns: Tensor, bags: bool) -> Tensor:
    """U (m, d) from its columns (d, m): each column in one piece for bags of indices, each row for dense inputs."""
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
    """A width-n network in an abc-parametrization of depth 1.

    w^1 ~ sigma_u N(0, n^{-2b_1}), w^2 ~ sigma_v N(0, n^{-2b_2}), b = 0.
    initial='uniform' draws w^1 from the uniform distribution of the same variance, as TP4's word2vec does. bags:
    lay U out for bags of indices. Raises ConfigError if the parametrization is of another depth.
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


@torch.no_grad()
def split(net: LinearNet, ranks: Ranks) -> LinearNet:
    """This rank's share of a network for bags, which every rank has made whole; ConfigError if ranks are more than its
    coordinates.

    The first rank's numbers are dealt out: another kind of CPU draws and turns to others in the last digits.
    """
    if ranks.size == 1:
        return net
    _require_coordinates(ranks, len(net.b), net.U.shape[1])
    columns, V, b = (ranks.spread(t.detach())[..., ranks.own()].contiguous() for t in (net.U.mT, net.V, net.b))
    return LinearNet(columns.mT, V, b, net.alpha, net.scale, ranks)

"""How finite multilayer perceptrons start in an abc-parametrization."""

import itertools
from collections.abc import Sequence

import torch

from infwidth.errors import ConfigError
from infwidth.models.mlp.multipliers import Factors
from infwidth.models.mlp.net import MLP
from infwidth.parametrization import ABC


def finite(
    width: int,
    inputs: int,
    outputs: int,
    sigmas: Sequence[float],
    factors: Factors,
    abc: ABC,
    activation: str,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    base_width: int = 1,
) -> MLP:
    """A width-n network of ``abc.depth`` hidden layers: w^l ~ sigmas[l-1] N(0, (n / base_width)^{-2 b_l}), biases zero.

    At the base width all parametrizations are the same network: sigmas, factors and rates are meant there. Raises
    ConfigError if sigmas are not one for each layer.
    """
    if len(sigmas) != abc.depth + 1:
        raise ConfigError(f"there are {len(sigmas)} standard deviations for {abc.depth + 1} weight layers.")
    shifted, n = abc.shifted(abc.c / 2), width / base_width
    sizes = [inputs, *[width] * abc.depth, outputs]
    weights = [
        torch.randn(sizes[l], sizes[l - 1], generator=generator, dtype=dtype)
        * (sigmas[l - 1] * shifted.layer(l, n).init_std)
        for l in range(1, abc.depth + 2)
    ]
    multipliers = factors.multipliers(
        abc.depth, lambda l: shifted.layer(l, n).multiplier, frozen_readout=not factors.readout
    )
    biases = [
        torch.zeros(sizes[l], dtype=dtype) if multipliers.biases[l - 1] else None for l in range(1, abc.depth + 2)
    ]
    return MLP(weights, biases, multipliers, activation)


def layers(width: int, depth: int, inputs: int, outputs: int) -> list[int]:
    """How many weights each layer of a network of one width has."""
    sizes = [inputs, *[width] * depth, outputs]
    return [below * above for below, above in itertools.pairwise(sizes)]

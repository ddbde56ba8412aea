"""A model of one's own: random ReLU features with a trained readout, f(x) = n^{-1/2} V relu(U x), U fixed.

It is the finite network that the NNGP limit of one hidden layer is the limit of.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from infwidth.config import key
from infwidth.models.contract import Model
from infwidth.models.cost import Shape
from infwidth.models.family import Family, FamilyConfig
from infwidth.models.updates import DenseUpdate
from infwidth.parametrization import ABC, named


class RandomFeatures(Model):
    """U (n, d) and V (k, n), which starts at zero."""

    def __init__(self, U: Tensor, outputs: int):
        super().__init__()
        self.register_buffer("U", U)
        self.V = nn.Parameter(U.new_zeros(outputs, len(U)))

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x) @ self.V.mT

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.U.mT) * len(self.U) ** -0.5

    @torch.no_grad()
    def gradient(self, x: Tensor, cotangent: Tensor) -> DenseUpdate:
        return DenseUpdate({"V": cotangent.mT @ self.features(x)})

    def apply_update(self, update: DenseUpdate, rate: float, decay: float = 0.0) -> None:
        update.apply_to(self.named_parameters(), rate, decay)


@dataclass(frozen=True, kw_only=True)
class RandomFeaturesConfig(FamilyConfig):
    """conf/model/random_features.yaml"""

    name: Literal["tests.toys.random_features"] = "tests.toys.random_features"
    width: int = key(at_least=1, default=256)
    sigma: float = key(above=0, default=1.0)

    def own(self) -> ABC:
        return named("readout_only", 1)

    def build(self, abc: ABC, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> RandomFeatures:
        U = torch.randn(self.width, shape.inputs, generator=generator, dtype=dtype)
        return RandomFeatures(U * (self.sigma * shape.inputs**-0.5), shape.outputs)

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        return self.width * (shape.inputs + shape.outputs) * dtype.itemsize


FAMILY = Family("tests.toys.random_features", RandomFeaturesConfig, chooses=False)

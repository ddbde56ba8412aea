"""model=pi_net: the finite network that the pi-limit is the limit of."""

from dataclasses import dataclass
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from infwidth.config import key
from infwidth.errors import ConfigError
from infwidth.models.contract import Model
from infwidth.models.cost import Footprint, Shape, Sizes, Work, footprint_of_network, of_dense_network
from infwidth.models.family import Family, Offers
from infwidth.models.mlp.adapted import ADAPTS
from infwidth.models.mlp.start import layers
from infwidth.models.pi.config import PiConfig
from infwidth.models.pi.sampled import sampled
from infwidth.parametrization import ABC


@dataclass(frozen=True, kw_only=True)
class PiNetConfig(PiConfig):
    """conf/model/pi_net.yaml"""

    name: Literal["pi_net"]
    width: int = key(at_least=1, default=2048)
    sampled_from: str | None = key(default=None, file=True)

    def offers(self) -> Offers:
        return Offers(adapts=ADAPTS)

    def build(self, abc: ABC, shape: Shape, generator: torch.Generator, dtype: torch.dtype) -> Model:
        if self.rank >= self.width:
            print(
                f"model.rank={self.rank} is not below model.width={self.width}: gradients are not projected.",
                flush=True,
            )
        limit = self.limit(shape, generator, dtype)
        if self.sampled_from is not None:
            try:
                limit.load_state(load_file(self.sampled_from))
            except (OSError, SafetensorError) as e:
                raise ConfigError(
                    f"model.sampled_from={self.sampled_from} cannot be read ({e}); "
                    "give the checkpoints/best.safetensors of a run with model=pi_limit."
                ) from e
        return sampled(limit, self.width, generator)

    def grows_with(self) -> str:
        return "inputs"

    def _layers(self, shape: Shape) -> list[int]:
        """Weights of each layer."""
        return layers(self.width, self.depth, shape.inputs, shape.outputs)

    def work(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Work | None:
        return of_dense_network(sum(self._layers(shape)), shape, dtype)

    def memory(self, shape: Shape, dtype: torch.dtype) -> int:
        spans = self.depth * self.width * self.rank if self.rank < self.width else 0
        return (sum(self._layers(shape)) + self.depth * self.width + spans) * dtype.itemsize

    def footprint(self, shape: Shape, sizes: Sizes | None, dtype: torch.dtype) -> Footprint:
        return footprint_of_network(self._layers(shape), self.memory(shape, dtype), self.width, shape, dtype)


FAMILY = Family("pi_net", PiNetConfig, chooses=False)

"""Finite multilayer perceptrons of any depth."""

from infwidth.models.mlp.multipliers import Factors, Multipliers
from infwidth.models.mlp.net import MLP
from infwidth.models.mlp.start import finite

__all__ = ["MLP", "Factors", "Multipliers", "finite"]

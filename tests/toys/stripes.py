"""A dataset of one's own: drawings of stripes, level or upright, under noise."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infwidth.config import key
from infwidth.data.dataset import Dataset, Sources
from infwidth.data.kinds import IMAGES

SIDE = 8
"""Pixels of an image's side."""


@dataclass(frozen=True, kw_only=True)
class StripesConfig:
    """conf/data/stripes.yaml"""

    name: Literal["tests.toys.stripes"] = "tests.toys.stripes"
    images: int = key(at_least=10, default=1000)
    noise: float = key(at_least=0, default=1.5)


def make(config: StripesConfig, sources: Sources) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    rng = np.random.default_rng(0)
    upright = rng.integers(2, size=config.images, dtype=np.uint8)
    level_stripes = np.indices((SIDE, SIDE))[0] % 2
    clean = np.where(upright[:, None, None], level_stripes.T, level_stripes)
    noisy = clean + config.noise * rng.standard_normal(clean.shape)
    x = (255 * noisy.clip(0, 1)).astype(np.uint8).reshape(config.images, SIDE * SIDE)
    test = config.images // 5
    arrays = {"train_x": x[test:], "train_y": upright[test:], "test_x": x[:test], "test_y": upright[:test]}
    return arrays, {"label": "stripes", "source": "generated", "class_names": ["level", "upright"]}


DATASET = Dataset(config=StripesConfig, kind=IMAGES, version=1, make=make)

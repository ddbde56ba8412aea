"""Glyphs: a generated stand-in for Omniglot that needs no download.

A class is a few random strokes (quadratic curves); each of its drawers shifts, turns and scales the whole and moves every
control point a little. Rendered at 28 x 28 by the distance of a pixel to the nearest stroke.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infwidth.config import key

SIZE, POINTS = 28, 28
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class GlyphsConfig:
    """conf/data/glyphs.yaml"""

    name: Literal["glyphs"]
    train_classes: int = key(at_least=1)
    validation_classes: int = key(at_least=1)
    test_classes: int = key(at_least=1)
    drawers: int = key(at_least=2)
    jitter: float = key(at_least=0)
    generator_seed: int = key(at_least=0)


def prepare(config: GlyphsConfig) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays 'train', 'validation', 'test' (classes, drawers, 784) uint8 and the manifest; deterministic in the config."""
    arrays = {}
    for split, number in zip(
        SPLITS, (config.train_classes, config.validation_classes, config.test_classes), strict=True
    ):
        rng = np.random.default_rng([config.generator_seed, SPLITS.index(split)])
        arrays[split] = np.stack([_drawn_class(rng, config.drawers, config.jitter) for _ in range(number)])
    names = [f"glyph {i}" for i in range(config.test_classes)]
    return arrays, {"label": "glyphs (generated)", "source": "generated", "test_class_names": names}


def _drawn_class(rng: np.random.Generator, drawers: int, jitter: float) -> np.ndarray:
    """(drawers, 784) uint8 of one class."""
    strokes = rng.integers(2, 5)
    control = rng.uniform(-0.8, 0.8, (strokes, 3, 2))
    moved = control + jitter * rng.standard_normal((drawers, strokes, 3, 2))
    angle = jitter * 1.5 * rng.standard_normal(drawers)
    scale = 1 + jitter * rng.standard_normal((drawers, 1, 1, 1))
    shift = jitter * rng.standard_normal((drawers, 1, 1, 2))
    turn = np.stack([np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2)
    moved = scale * np.einsum("dij,dscj->dsci", turn, moved) + shift
    t = np.linspace(0, 1, POINTS)[:, None]
    basis = np.concatenate([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)
    points = np.einsum("pc,dscx->dspx", basis, moved).reshape(drawers, -1, 2)
    grid = (np.arange(SIZE) + 0.5) / SIZE * 2.4 - 1.2
    squared = (grid[None, None, :] - points[..., :1]) ** 2, (grid[None, None, :] - points[..., 1:]) ** 2
    nearest = (squared[0][:, :, None, :] + squared[1][:, :, :, None]).min(axis=1)
    ink = np.clip(1.5 - np.sqrt(nearest) / 0.06, 0, 1)
    return np.round(255 * ink).astype(np.uint8).reshape(drawers, -1)

"""Glyphs: a generated stand-in for Omniglot that needs no download.

A class is a few random strokes (quadratic curves); each of its drawers shifts, turns and scales the whole and moves
every control point a little. Rendered at 28 x 28 by the distance of a pixel to the nearest stroke.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infwidth.config import key
from infwidth.data.dataset import Dataset
from infwidth.data.kinds import FEW_SHOT_IMAGES

SIZE, POINTS = 28, 28


@dataclass(frozen=True, kw_only=True)
class GlyphsConfig:
    """conf/data/glyphs.yaml"""

    name: Literal["glyphs"] = "glyphs"
    train_classes: int = key(at_least=1, default=400)
    validation_classes: int = key(at_least=1, default=80)
    test_classes: int = key(at_least=1, default=80)
    drawers: int = key(at_least=2, default=20)
    jitter: float = key(at_least=0, default=0.12)
    generator_seed: int = key(at_least=0, default=0)


def prepare(config: GlyphsConfig) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays 'train', 'validation', 'test' (classes, drawers, 784) uint8, and the manifest; the config decides them."""
    classes = {"train": config.train_classes, "validation": config.validation_classes, "test": config.test_classes}
    arrays = {}
    for i, (split, number) in enumerate(classes.items()):
        rng = np.random.default_rng([config.generator_seed, i])
        arrays[split] = np.stack([_drawn_class(rng, config.drawers, config.jitter) for _ in range(number)])
    names = [f"glyph {i}" for i in range(config.test_classes)]
    return arrays, {"label": "glyphs (generated)", "source": "generated", "test_class_names": names}


def _drawn_class(rng: np.random.Generator, drawers: int, jitter: float) -> np.ndarray:
    """(drawers, 784) uint8 of one class."""
    strokes = rng.integers(2, 5)
    control = rng.uniform(-0.8, 0.8, (strokes, 3, 2))
    return _rendered(_curves(_as_drawn(rng, control, drawers, jitter)))


def _as_drawn(rng: np.random.Generator, control: np.ndarray, drawers: int, jitter: float) -> np.ndarray:
    """(drawers, strokes, 3, 2): the control points (strokes, 3, 2), each moved, and all turned, scaled and shifted."""
    moved = control + jitter * rng.standard_normal((drawers, *control.shape))
    angle = jitter * 1.5 * rng.standard_normal(drawers)
    scale = 1 + jitter * rng.standard_normal((drawers, 1, 1, 1))
    shift = jitter * rng.standard_normal((drawers, 1, 1, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    return scale * np.einsum("dij,dscj->dsci", turn, moved) + shift


def _curves(control: np.ndarray) -> np.ndarray:
    """(drawers, strokes * POINTS, 2): on the quadratic Bezier curves of control points (drawers, strokes, 3, 2)."""
    t = np.linspace(0, 1, POINTS)[:, None]
    basis = np.concatenate([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)
    return np.einsum("pc,dscx->dspx", basis, control).reshape(len(control), -1, 2)


def _rendered(points: np.ndarray) -> np.ndarray:
    """(drawers, 784) uint8 of points (drawers, n, 2): a pixel is the brighter the nearer its nearest point is."""
    grid = (np.arange(SIZE) + 0.5) / SIZE * 2.4 - 1.2
    horizontal = (grid - points[..., :1]) ** 2  # (drawers, n, columns)
    vertical = (grid - points[..., 1:]) ** 2  # (drawers, n, rows)
    nearest = (horizontal[:, :, None, :] + vertical[:, :, :, None]).min(axis=1)
    ink = np.clip(1.5 - np.sqrt(nearest) / 0.06, 0, 1)
    return np.round(255 * ink).astype(np.uint8).reshape(len(points), -1)


DATASET = Dataset(config=GlyphsConfig, kind=FEW_SHOT_IMAGES, version=1, make=lambda config, sources: prepare(config))

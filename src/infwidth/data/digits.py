"""scikit-learn's digits (8 x 8, bundled with the library) as a stand-in for CIFAR10 that needs no download."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infwidth.config import key
from infwidth.data.dataset import Dataset
from infwidth.data.kinds import IMAGES
from infwidth.errors import ConfigError


@dataclass(frozen=True)
class DigitsConfig:
    """conf/data/digits.yaml"""

    name: Literal["digits"] = "digits"
    test_images: int = key(at_least=1, default=400)


def prepare(config: DigitsConfig) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays 'train_x', 'test_x' (n, 64), 'train_y', 'test_y' (n,), uint8, and the manifest; the split is fixed."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x = np.round(digits.data[order] * (255 / 16)).astype(np.uint8)
    y = digits.target[order].astype(np.uint8)
    cut = len(y) - config.test_images
    if cut < 1:
        raise ConfigError(
            f"data.test_images is {config.test_images}; there are {len(y)} digits, some of them to train on."
        )
    arrays = {"train_x": x[:cut], "train_y": y[:cut], "test_x": x[cut:], "test_y": y[cut:]}
    return arrays, {
        "label": "digits (scikit-learn)",
        "source": "scikit-learn",
        "class_names": [str(d) for d in range(10)],
    }


DATASET = Dataset(config=DigitsConfig, kind=IMAGES, version=1, make=lambda config, sources: prepare(config))

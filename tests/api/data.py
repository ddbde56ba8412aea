"""Small data for the tests of the library."""

import numpy as np
import torch
from sklearn.datasets import load_digits


def digits():
    """scikit-learn's, shuffled: (x, y) to train on, and to test on, as numpy arrays."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    return (x[:1400], y[:1400]), (x[1400:], y[1400:])


def examples(size=12, inputs=5, outputs=3, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(size, inputs, generator=g, dtype=dtype), torch.arange(size) % outputs

"""Glyphs: generated drawings."""

import numpy as np

from infwidth.data import catalog
from tests.data.helpers import GLYPHS


def test_glyphs_are_deterministic_and_splits_differ(tmp_path):
    a = catalog.obtain({**GLYPHS, "root": str(tmp_path / "a")})
    b = catalog.obtain({**GLYPHS, "root": str(tmp_path / "b")})
    assert a.checksum == b.checksum and a.arrays["train"].shape == (5, 4, 784)
    assert not np.array_equal(a.arrays["train"][:2], a.arrays["test"])
    other = catalog.obtain({**GLYPHS, "generator_seed": 1, "root": str(tmp_path / "a")})
    assert other.checksum != a.checksum
    x = a.arrays["train"].astype(float)
    within, between = np.abs(x[:, 0] - x[:, 1]).mean(), np.abs(x[0, 0] - x[1:, 0]).mean()
    assert within < between and x.max() == 255

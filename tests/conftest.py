"""Fixtures shared by all tests."""

import os

# One thread a process, also in the commands that tests start: several PyTorch processes that each spin on all cores
# slow each other down a hundredfold. Set before torch is imported, which reads it once.
os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "golden"))

# Tests never write into a real W&B account, whoever is logged in.
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"


def golden_files(pattern: str) -> list:
    """pytest parameters for every golden file that matches; a pattern without files is an error, not zero tests."""
    files = sorted(GOLDEN.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no golden file matches {pattern} in {GOLDEN}")
    return [pytest.param(f, id=f.stem, marks=pytest.mark.golden) for f in files]


def load_golden(path: Path) -> dict:
    """Arrays of a golden file; scalars as Python numbers."""
    with np.load(path, allow_pickle=False) as z:
        return {k: (z[k] if z[k].ndim else z[k].item()) for k in z.files}

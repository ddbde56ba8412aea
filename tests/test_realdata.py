"""A few checks on the real Omniglot, where DATA_MIRROR has it."""

import os
from pathlib import Path

import pytest

from infwidth import train
from infwidth.command import composed
from infwidth.data import omniglot

MIRROR = os.environ.get("DATA_MIRROR")
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not MIRROR or omniglot.find(Path(MIRROR)) is None, reason="DATA_MIRROR has no Omniglot"),
]


def run(tmp_path, row, *overrides):
    options = [
        f"experiment=maml/{row}",
        "scale=paper",
        "logger=none",
        "trainer.progress=false",
        f"paths.results={tmp_path}",
    ]
    return train.run(composed("train", [*options, *overrides]))["metrics"]


def test_the_mu_limit_learns_features_that_kernels_do_not_have(tmp_path):
    """After 5 of 100 epochs the mu-limit is 6 points above the validation accuracy that its fixed features allow."""
    learned = run(tmp_path, "mu_limit", "trainer.epochs=5")
    fixed = run(tmp_path, "linear_nngp", "task.adaptation.steps=1")
    assert learned["validation/accuracy"] > fixed["validation/accuracy"] + 6


def test_the_relu_kernels_with_unit_sigmas_give_the_published_accuracy(tmp_path):
    """47.82 and 47.60 in the paper; the standard error of 3,200 episodes is 0.4."""
    assert abs(run(tmp_path, "relu_ntk")["test/accuracy"] - 47.82) < 1.2
    assert abs(run(tmp_path, "relu_nngp")["test/accuracy"] - 47.60) < 1.2

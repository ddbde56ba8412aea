"""A second GPU that is not there, and what runs find on it."""

import os
from weakref import WeakSet

import pytest

from infwidth import running
from infwidth.models.kernel import BagKernelMachine
from infwidth.models.pi.bounded import Bounded
from infwidth.training import prediction
from infwidth.training.prediction import Rates
from infwidth.training.trainer import Trainer
from tests.devices.pretended import pretended_gpus

WAITS = ((Bounded, "_project"), (BagKernelMachine, "apply_update"))
"""What makes a step wait for a GPU, and has to: a projection, which is rare, and the worn columns of a kernel limit on
bags of indices."""


def _around(patch: pytest.MonkeyPatch, owner: type, name: str, context) -> None:
    """Calls of a method of ``owner`` are made in ``context(self)``."""
    original = getattr(owner, name)

    def method(self, *arguments, **named):
        with context(self):
            return original(self, *arguments, **named)

    patch.setattr(owner, name, method)


@pytest.fixture
def gpus(monkeypatch):
    """Two of them. A trainer's first step may wait, to look at what stays; no other does, but for what is in WAITS.

    A run does without what takes long and asks nothing of a device: the fingerprint of its code, and waiting for the
    disk. Nor does it measure how fast the CPU is.
    """
    with pretended_gpus() as gpus:
        begun = WeakSet()

        def not_after_the_first(trainer):
            first = trainer not in begun
            begun.add(trainer)
            return gpus.waiting(first)

        _around(monkeypatch, Trainer, "step", not_after_the_first)
        for owner, name in WAITS:
            _around(monkeypatch, owner, name, lambda _: gpus.waiting(True))
        monkeypatch.setattr(prediction, "measured", lambda work, device, dtype: Rates(1e12, 1e12, 1e12, 0.0))
        monkeypatch.setattr(running, "keep_code", lambda modules, results: "")
        monkeypatch.setattr(os, "fsync", lambda file: None)
        yield gpus


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """Where the data are that all runs share."""
    return str(tmp_path_factory.mktemp("data"))

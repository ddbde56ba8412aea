"""Runs on the second GPU of two that are not there, stopped and resumed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from infwidth.training.stopping import Interrupted
from infwidth.training.trainer import Trainer

SECOND = torch.device("cuda", 1)

IN_THE_SECOND_EPOCH = 4
"""A step of any of the runs that are trained."""


@contextmanager
def stopped_after(step: int) -> Iterator[None]:
    """Runs in this context are asked to stop after a step."""
    original = Trainer.step

    def asked(self, batch):
        found = original(self, batch)
        self.stop.asked = self.at.step == step
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", asked)
        try:
            yield
        except Interrupted:
            pass

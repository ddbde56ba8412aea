"""The pi-limit in runs of the trainer: what its checkpoints hold."""

import pytest

from infwidth import train
from infwidth.training import checkpoints
from infwidth.training.trainer import Trainer
from tests.training.helpers import small


class Killed(BaseException):
    """As by kill -9."""


def killed_at(step, config, monkeypatch):
    """Carry out a run that ends at ``step`` without any chance to save."""
    one_step = Trainer._one_step

    def until(self, batch):
        if self.step == step:
            raise Killed
        return one_step(self, batch)

    with monkeypatch.context() as m:
        m.setattr(Trainer, "_one_step", until)
        with pytest.raises(Killed):
            train.run(config)


def test_a_checkpoint_holds_the_rows_once(tmp_path, monkeypatch):
    """The best state so far is of the same rows, and needs only what training has changed since."""
    killed_at(20, small(tmp_path, "task=cifar10", "model=pi_limit", "trainer.checkpoint_every=1"), monkeypatch)
    (last,) = tmp_path.glob(f"results/runs/cifar10/*/checkpoints/{checkpoints.LAST}")
    tensors, _ = checkpoints.load(last)
    rows = [name for name in tensors if name.split(".")[-2:-1] in (["A"], ["B"])]
    assert len(rows) == 4 and all(name.startswith("model.layers.") for name in rows)
    assert {"best.A1", "best.b.0", "best.layers.0.m", "best.layers.1.m"} <= tensors.keys()

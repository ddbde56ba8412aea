"""What a run on images holds in memory: predicted, refused where it does not fit, and given back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from infwidth import train
from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.models.family import config_of, largest_fitting
from infwidth.runs.compose import composed
from infwidth.training import prediction
from tests.build import built
from tests.training.helpers import small


def small_model(name):
    return composed("train", ["task=cifar10", f"model={name}", "scale=demo"])["model"]


@pytest.mark.parametrize(
    "model, options, message",
    [
        (
            "pi_limit",
            [],
            r"the largest number of epochs that fits is \d+: set trainer.epochs=\d+, or model.storage=bfloat16",
        ),
        (
            "nngp_limit",
            ["task.images=all"],
            r"the largest number of training images that fits is \d+: set task.images=subset task.subset=\d+",
        ),
    ],
)
def test_a_run_too_large_for_the_memory_is_refused_with_what_would_fit(tmp_path, monkeypatch, model, options, message):
    monkeypatch.setattr(prediction, "free_memory", lambda device: 6_000_000)
    config = small(tmp_path, "task=cifar10", f"model={model}", *options)
    if model == "pi_limit":
        config["trainer"]["epochs"] = 3000
    with pytest.raises(ConfigError, match=message):
        train.run(config)
    assert not (tmp_path / "results").exists()


def test_the_largest_number_of_steps_fits_and_one_epoch_more_does_not():
    config = config_of(small_model("pi_limit"))
    shape = Shape(64, 10, False, 120, 32, 10**6, 160)

    def needed(shape):
        return config.memory(shape, torch.float32)

    steps = largest_fitting("steps", shape, 10**8, needed)
    assert needed(replace(shape, steps=steps)) <= 10**8 < needed(replace(shape, steps=steps + 1))


def test_a_snapshot_of_the_pi_limit_stays_as_it_is_while_training_goes_on():
    net = built(
        small_model("pi_limit"), {"name": "auto"}, Shape(64, 10), torch.Generator().manual_seed(0), torch.float64
    )
    x = torch.randn(7, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cotangent = torch.randn(7, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    net.apply_update(net.gradient(x, cotangent), 0.5, 0.1)
    kept, before = net.snapshot(), net(x)
    for _ in range(3):
        net.apply_update(net.gradient(x, cotangent), 0.5, 0.1)
    assert (net(x) - before).abs().max() > 0.01
    place, rows = net.layers[0].blocks[0].A.data_ptr(), net.layers[0].rows
    net.restore(kept)
    torch.testing.assert_close(net(x), before)
    assert net.layers[0].blocks[0].A.data_ptr() == place and net.layers[0].rows == rows - 21
    assert np.isfinite(before.detach()).all()

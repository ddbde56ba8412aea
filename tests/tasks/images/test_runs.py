"""Kernel regression, the pi-limit and its finite networks as runs on images."""

import json
from dataclasses import replace

import pytest
import torch

from infwidth import train
from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.models.family import config_of
from tests.training.helpers import small

SAME = {
    "alpha_1": 1,
    "alpha_out": 0.5,
    "beta": 0.5,
    "first_multiplier": 0.1,
    "readout_multiplier": 4,
    "bias_multiplier": 0.5,
}
"""The multipliers of the pi-limit, which a network drawn from it has to have."""


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["model=nngp_limit", "trainer.epochs=2"], "fitted at once and not trained; set trainer.epochs=0"),
        (["model=nngp_limit", "trainer.selection=validation"], "use trainer.selection=last"),
        (["model=nngp_limit", "model.kernel=as_published"], "a kernel of model=ntk_limit"),
        (["model=ntk_limit", "model.weight_rates=[1,1]"], "model.weight_rates has 2 multipliers; model.depth=2 has 3"),
        (["model=nngp_limit", "model.activation=linear"], "set model.activation=relu"),
        (["model=nngp_limit", "model.convention=tp4"], "takes model.convention=pilim"),
        (["model=nngp_limit", "model.regularisers=[0]"], "must be greater than 0"),
        (
            ["model=finite", "model.activation=linear", "model.depth=1"],
            "model.multipliers and model.base_width are for deep or nonlinear networks",
        ),
    ],
)
def test_models_that_do_not_go_with_it(overrides, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train.run(small(tmp_path, "task=cifar10", *overrides))


def test_kernel_regression_wants_a_training_set(tmp_path):
    options = [
        "model=nngp_limit",
        "model.convention=pilim",
        "model.solve=regression",
        "trainer.epochs=0",
        "trainer.selection=last",
    ]
    with pytest.raises(ConfigError, match="which task=maml_omniglot does not have; set model.solve=descent"):
        train.run(small(tmp_path, "task=maml_omniglot", *options))
    assert not (tmp_path / "results").exists()


def test_a_regulariser_that_leaves_the_matrix_indefinite(tmp_path):
    """Of twice the same image the kernel matrix is singular."""
    with pytest.raises(ConfigError, match="not positive definite in float32 .* raise the regulariser"):
        train.run(
            small(
                tmp_path,
                "task=cifar10",
                "model=ntk_limit",
                "model.regularisers=[1e-12]",
                "task.images=all",
                "task.std=[1e6]",
                "model.sigma_b=5",
            )
        )


def test_kernel_regression_is_fitted_once_and_its_regulariser_is_in_the_summary(tmp_path):
    summary = train.run(
        small(tmp_path, "task=cifar10", "model=nngp_limit", "model.regularisers=[1e-4,1e-2]", "model.choose_on=100")
    )
    metrics = summary["metrics"]
    assert metrics["test/accuracy"] > 70 and metrics["fit/regulariser"] in (1e-4, 1e-2) and summary["steps"] == 0
    rows = [
        json.loads(line)
        for line in (tmp_path / "results/runs/own_cifar10" / summary["id"] / "metrics.jsonl").read_text().splitlines()
    ]
    assert (
        rows[0]["fit/regulariser"] == metrics["fit/regulariser"]
        and rows[0]["validation/accuracy"] == metrics["test/accuracy"]
    )


def test_the_pi_limit_learns_and_its_arrays_grow_as_predicted(tmp_path, capsys):
    config = small(tmp_path, "task=cifar10", "model=pi_limit", "trainer.dtype=float64")
    summary = train.run(config)
    assert summary["metrics"]["test/accuracy"] > 60
    assert "GB of memory at most, in training, about" in capsys.readouterr().out
    shape = Shape(64, 10, False, 120, 32, 12, 160)
    rows = 32 + 12 * 32  # those at the start, and one for every example
    model = config_of(config["model"])
    numbers = 64 * 32 + rows * (32 + 32 + 1) + rows * (10 + 32 + 1)
    assert model.memory(shape, torch.float64) == 8 * numbers
    work = [model.work(replace(shape, steps=steps), None, torch.float32).flops for steps in (6, 12)]
    assert work[1] > 2 * work[0]


def test_selection_on_the_test_is_what_the_paper_does(tmp_path):
    summary = train.run(small(tmp_path, "task=cifar10", "model=pi_limit", "trainer.selection=paper"))
    folder = tmp_path / "results/runs/own_cifar10" / summary["id"]
    watched = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert summary["metrics"]["test/accuracy"] == max(row.get("validation/accuracy", 0) for row in watched)


def test_networks_are_drawn_from_a_trained_pi_limit(tmp_path):
    """Wide ones predict as it does; all of them have learned without being trained themselves."""
    limit = train.run(small(tmp_path, "task=cifar10", "model=pi_limit", "task.subset=400", "trainer.epochs=4"))
    path = tmp_path / "results/runs/own_cifar10" / limit["id"] / "checkpoints/best.safetensors"
    options = [
        "task=cifar10",
        "model=pi_net",
        "trainer.epochs=0",
        f"model.sampled_from={path}",
        *(f"model.{k}={v}" for k, v in SAME.items()),
    ]
    wide = train.run(small(tmp_path, *options, "model.width=4096"))["metrics"]["test/accuracy"]
    assert limit["metrics"]["test/accuracy"] > 80 and abs(wide - limit["metrics"]["test/accuracy"]) < 4
    path.write_bytes(b"no")
    with pytest.raises(ConfigError, match="model.sampled_from=.* cannot be read"):
        train.run(small(tmp_path, *options, "model.width=8"))
    with pytest.raises(ConfigError, match="cannot be read"):
        train.run(small(tmp_path, *options, "model.width=8", "model.sampled_from=nowhere"))

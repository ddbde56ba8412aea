"""Few-shot learning as a task: what is evaluated, and what is refused."""

import pytest
import torch
from scipy import stats

from infwidth.errors import ConfigError, DataError
from infwidth.models import linear
from infwidth.tasks.losses import mean_accuracy
from infwidth.tasks.maml.config import AdaptationConfig, MAMLConfig
from infwidth.tasks.maml.episodes import Pool
from infwidth.tasks.maml.task import MAML, half_interval

SMALL = {"ways": 3, "meta_batch": 2, "steps_per_epoch": 4, "evaluation_episodes": 10, "probe_classes": 2}


def task(**more):
    pixels = torch.rand(7, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pools = {split: Pool(pixels, split) for split in ("train", "validation", "test")}
    return MAML(MAMLConfig(**{**SMALL, **more}), pools, tuple("abcdefg"), 0, torch.float64)


def model():
    return linear.mu_limit(4, 3, 1.0, 0.5, 0.7, torch.float64)


@pytest.mark.parametrize(
    "more, error, message",
    [
        ({"ways": 8}, DataError, "task.ways is 8, but the train split has 7 classes"),
        ({"probe_classes": 8}, DataError, "task.probe_classes is 8, but the test split has 7 classes; lower it"),
        ({"steps_per_epoch": 10**7}, ConfigError, r"task.steps_per_epoch \* task.meta_batch is 20000000, and so many"),
        ({"evaluation_episodes": 10**8}, ConfigError, "task.evaluation_episodes is 100000000, .* at most 10000000"),
        ({"test_episodes": 10**8}, ConfigError, "task.test_episodes is 100000000, .* at most 10000000"),
    ],
)
def test_what_the_data_or_the_memory_cannot_supply(more, error, message):
    with pytest.raises(error, match=message):
        task(**more)


def test_the_test_may_have_several_sets_of_episodes_and_an_interval_over_them():
    own = task(test_seeds=4, test_episodes=6, adaptation=AdaptationConfig(test_steps=2))
    names = {"accuracy", "accuracy_standard_error", "loss"}
    assert own.evaluate(model(), "validation").metrics.keys() == names
    assert own.evaluate(model(), "test").metrics.keys() == {*names, "accuracy_half_interval"}


def test_the_half_interval_is_students():
    means = torch.tensor([60.0, 62.0, 67.0], dtype=torch.float64)
    low, high = stats.t.interval(0.95, 2, means.mean(), stats.sem(means.numpy()))
    assert half_interval(means) == pytest.approx((high - low) / 2)


def test_the_episodes_of_an_evaluation_are_the_same_at_every_call():
    own = task()
    assert own.evaluate(model(), "validation").metrics == own.evaluate(model(), "validation").metrics
    assert own.evaluate(model(), "validation").metrics["loss"] != own.evaluate(model(), "test").metrics["loss"]


def test_one_example_has_no_standard_error():
    assert mean_accuracy(torch.tensor([100.0])) == {"accuracy": 100}
    found = mean_accuracy(torch.tensor([100.0, 0.0, 0.0, 100.0], dtype=torch.float64))
    assert found["accuracy"] == 50 and found["accuracy_standard_error"] == pytest.approx((10000 / 3) ** 0.5 / 2)

"""Schedules against torch's, and against what the authors' programs used where theirs lag."""

import json

import pytest

from infwidth.errors import ConfigError
from infwidth.training.schedules import ScheduleConfig
from tests.conftest import golden_files


def factors(schedule, total, steps):
    return [schedule(t, total) for t in range(steps)]


@pytest.mark.parametrize("path", golden_files("pilim/schedulers.json"))
def test_recorded_schedules(path):
    z = json.loads(path.read_text())
    multistep = ScheduleConfig(name="multistep", milestones=(3, 5), factor=0.5)
    cosine = ScheduleConfig(name="cosine")
    for name, schedule, base in [
        ("torch_MultiStepLR_lr_used_at_step", multistep, 1.0),
        ("torch_Cosine_T10_max32_lr_used_at_step", cosine, 32.0),
        ("InfCosine_T10_max32_lr_used_at_step", ScheduleConfig(name="cosine", lag=1), 32.0),
        (
            "InfMultiStepLR_milestones3_5_gamma0.5_lr_used_at_step",
            ScheduleConfig(name="multistep", milestones=(3, 5), factor=0.5, lag=1),
            1.0,
        ),
    ]:
        expected = z[name]
        assert [base * f for f in factors(schedule, 10, len(expected))] == pytest.approx(
            expected, rel=1e-12, abs=1e-12
        ), name


def test_linear_and_stepwise_linear():
    assert factors(ScheduleConfig(name="linear"), 4, 5) == [1, 0.75, 0.5, 0.25, 0]
    assert factors(ScheduleConfig(name="linear", final=0.5), 4, 5) == [1, 0.875, 0.75, 0.625, 0.5]
    assert factors(ScheduleConfig(name="stepwise_linear", every=2), 4, 5) == [1, 1, 0.5, 0.5, 0]
    assert factors(ScheduleConfig(name="constant"), 4, 3) == [1, 1, 1]


def test_multistep_needs_milestones_inside_the_run():
    with pytest.raises(ConfigError, match="needs"):
        ScheduleConfig(name="multistep")
    with pytest.raises(ConfigError, match="ends after 5"):
        ScheduleConfig(name="multistep", milestones=(2, 5)).check(5)

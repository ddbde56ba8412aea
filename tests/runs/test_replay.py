"""Replays: the twin takes every path, and a deliberate change of what is computed does not survive one."""

from dataclasses import replace

import pytest

from infwidth import replaying
from infwidth.job import specified
from infwidth.models.pi import bounded as bounded_layers
from infwidth.runs import fingerprint, standing, store
from infwidth.runs.replay import FIRST, disagreement, thinned, twin
from infwidth.tasks.images.task import Images
from infwidth.training.schedules import ScheduleConfig
from infwidth.training.trainer import Trainer
from tests.reporting.test_table import record as table_record
from tests.training.helpers import small

OPTIONS = ("task=cifar10", "model=finite", "trainer.decay=0.01", "trainer.epochs=5", "trainer.schedule.name=multistep")
MILESTONE = "trainer.schedule.milestones=[3]"


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return specified(small(tmp_path_factory.mktemp("job"), *OPTIONS, MILESTONE))


@pytest.fixture(scope="module")
def recorded(job):
    return replaying.record(job)


def test_a_replay_again_is_bitwise_the_same(job, recorded):
    assert disagreement(recorded, replaying.record(job)) == ("bitwise", "")
    assert (
        len(recorded["first"]) == min(FIRST, job.task.steps_per_epoch)
        and {"test/accuracy", "validation/loss"} <= recorded["metrics"].keys()
    )


def test_the_twin_is_short_and_has_a_milestone(job):
    config = twin(job.spec.config, job.spec.task.shortened())
    assert config["trainer"]["schedule"]["milestones"] == [1] and config["trainer"]["epochs"] == 3
    assert config["trainer"]["dtype"] == "float64" and config["task"]["subset"] <= 640
    assert job.spec.config["trainer"]["epochs"] == 5


def changed_optimizer(patch):
    step = Trainer.step

    def other(self, batch):
        self.config = replace(self.config, decay=0.0101)
        return step(self, batch)

    patch.setattr(Trainer, "step", other)


def changed_milestone(patch):
    call = ScheduleConfig.__call__
    patch.setattr(ScheduleConfig, "__call__", lambda self, t, total: call(self, t, total) ** 1.001)


def changed_evaluation(patch):
    evaluate = Images.evaluate

    def other(self, model, split):
        found = evaluate(self, model, split)
        return replace(found, metrics={**found.metrics, "loss": found.metrics["loss"] * (1 + 1e-5)})

    patch.setattr(Images, "evaluate", other)


@pytest.mark.parametrize("change", [changed_optimizer, changed_milestone, changed_evaluation])
def test_a_deliberate_change_does_not_survive(job, recorded, monkeypatch, change):
    change(monkeypatch)
    grade, reason = disagreement(recorded, replaying.record(job))
    assert grade is None and " was " in reason and " is " in reason


@pytest.mark.filterwarnings("ignore:projected onto")
def test_a_changed_projection_does_not_survive(tmp_path, monkeypatch):
    options = ("task=cifar10", "model=pi_limit", "model.landmarks=epoch", "trainer.epochs=4")
    bounded = specified(small(tmp_path, *options))
    before = replaying.record(bounded)
    assert disagreement(before, replaying.record(bounded))[0] == "bitwise"
    projected = bounded_layers.projected

    def other(*arguments, **more):
        found = projected(*arguments, **more)
        return replace(found, coefficients=found.coefficients * 1.001)

    monkeypatch.setattr(bounded_layers, "projected", other)
    assert disagreement(before, replaying.record(bounded))[0] is None


def found(first=(1.0,) * FIRST, losses=(1.0, 2.0), accuracy=50.0, loss=1.0):
    metrics = {"test/accuracy": accuracy, "test/loss": loss}
    return {"first": list(first), "losses": list(losses), "metrics": metrics}


@pytest.mark.parametrize(
    "other, grade",
    [
        (found(), "bitwise"),
        (found(first=[1.0 + 1e-6] * FIRST), "close"),
        (found(first=[1.0 + 1e-4] + [1.0] * (FIRST - 1)), None),
        (found(first=[1.0] * (FIRST - 1) + [1.0 + 5e-4]), "close"),
        (found(losses=[1.0, 2.0 + 1e-9]), "close"),
        (found(losses=[1.0, 2.0 + 1e-4]), None),
        (found(losses=[1.0]), None),
        (found(accuracy=50.3), "close"),
        (found(accuracy=51.0), None),
        (found(loss=1.0 + 1e-4), None),
        (found(loss=None), None),
    ],
)
def test_grades_of_agreement(other, grade):
    assert disagreement(found(), other)[0] == grade


def test_what_a_twin_says_besides_does_not_count_and_what_it_lacks_does():
    more, less = found(), found()
    more["metrics"]["test/new"] = 3.0
    del less["metrics"]["test/loss"]
    assert disagreement(found(), more)[0] == "bitwise" and disagreement(found(), less)[0] is None


def test_some_losses_of_a_twin_are_kept():
    assert thinned([float(i) for i in range(25)]) == [*map(float, range(10)), 19.0, 24.0]


def test_a_row_is_marked_until_a_replay_agrees(tmp_path):
    """By the code of the run and of each of its starts, or by code with which a replay came out the same."""
    here = fingerprint.current(["infwidth.training.schedules"])
    gone = fingerprint.Fingerprint({"infwidth.training.schedules": {"Nothing": "0123456789"}})
    digests = [fingerprint.write(f, tmp_path / store.FINGERPRINTS) for f in (here, gone)]
    marked = standing.marker(tmp_path, "x")
    good, bad = (replace(table_record(), fingerprint=digest) for digest in digests)
    assert not marked(good) and marked(bad) and marked(table_record())
    assert marked(replace(good, provenance={"starts": [{"fingerprint": digests[1]}, {"fingerprint": digests[0]}]}))
    assert not marked(replace(bad, replay={"agreed": [{"fingerprint": digests[0]}]}))
    standing.keep([good, bad], tmp_path, "x")
    assert {p.stem for p in (tmp_path / "x" / store.FINGERPRINTS).glob("*.json")} == set(digests)
    standing.keep([good], tmp_path, "x")
    assert [p.stem for p in (tmp_path / "x" / store.FINGERPRINTS).glob("*.json")] == digests[:1]

"""Every model on every task that it goes with, on a GPU that is not there: a run is whole, and nothing of it is left on
the CPU."""

import pytest
import torch

from infwidth.data.catalog import obtain
from infwidth.job import on
from infwidth.models.contract import Model
from infwidth.running import run
from infwidth.runs.spec import Spec
from infwidth.training import checkpoints
from infwidth.training.peak import Peak
from infwidth.training.trainer import Trainer
from tests.devices.pairings import MODELS, TASKS, specs, with_keys
from tests.devices.runs import IN_THE_SECOND_EPOCH, SECOND, stopped_after


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
def test_a_pairing(model, task, gpus, data_root, tmp_path, subtests):
    found = specs(model, task, data__root=data_root, paths__results=str(tmp_path / "gpu"), trainer__device=str(SECOND))
    if not found:
        pytest.skip("the pairing check refuses it")
    for way, spec in found.items():
        with subtests.test(way):
            summary = stopped_resumed_and_finished(spec)
            on_cpu = with_keys(spec.config, {"trainer.device": "cpu", "paths.results": str(tmp_path / "cpu")})
            assert_alike(summary["metrics"], run(on_cpu)["metrics"])
            assert_a_model_is_moved_loaded_and_goes_back(spec, gpus)


def stopped_resumed_and_finished(spec: Spec) -> dict:
    with stopped_after(IN_THE_SECOND_EPOCH):
        run(spec.config)
    summary = run(spec.config)
    about = summary["provenance"]
    assert summary["status"] == "finished" and summary["steps"] == on_the_gpu(spec).length.last
    assert about["hardware"] == "pretended GPU 1, 16 GiB" and about["peak_memory_bytes"] == 1001
    return summary


def assert_alike(on_gpu: dict, on_cpu: dict) -> None:
    """The losses are those of an undisturbed run on the CPU, but for rounding."""
    for name in ("validation/loss", "test/loss"):
        assert on_gpu[name] == pytest.approx(on_cpu[name], rel=1e-3)


def on_the_gpu(spec: Spec):
    """The run's job."""
    return on(spec, obtain(spec.run.data), SECOND, Peak(SECOND))


def assert_a_model_is_moved_loaded_and_goes_back(spec: Spec, gpus) -> None:
    job = on_the_gpu(spec)
    model = spec.build_model(job.resources.shape, SECOND)
    model.load_state(checkpoints.load(job.directory.checkpoints / checkpoints.BEST).tensors)
    snapshot, before = model.snapshot(), copied(model)
    if not model.closed_form:
        trainer = Trainer(spec.trainer, job.task, model, job.length, job.directory, spec.label)
        batches = job.task.batches(0)
        trainer.step(next(batches))  # with it, some of what is prepared for all has been waited for
        with gpus.waiting(False):
            for batch in batches:
                trainer.step(batch)
    model.restore(snapshot)
    after = copied(model)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    if not job.task.bags:
        unit = model.unit_features(job.task.held_out()[:3])
        assert model.feature_kernel(unit, unit).device == SECOND


def copied(model: Model) -> dict[str, torch.Tensor]:
    """A copy of a model's state, all of which is on the GPU."""
    state = model.state()
    assert {t.device for t in state.values()} == {SECOND}
    return {name: t.clone() for name, t in state.items()}

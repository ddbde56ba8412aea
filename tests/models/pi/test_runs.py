"""The pi-limit in runs of the trainer: what its checkpoints hold, and projections through kills and ends of epochs."""

import pytest

from infwidth import train
from infwidth.training import checkpoints
from tests.training.helpers import folder_of, killed_after, metrics_of, small


def test_a_checkpoint_holds_the_rows_once(tmp_path):
    """The best state so far is of the same rows, and needs only what training has changed since."""
    with killed_after(50):
        train.run(small(tmp_path, "task=cifar10", "model=pi_limit", "trainer.checkpoint_every=1", "trainer.epochs=4"))
    (last,) = tmp_path.glob(f"results/runs/*/*/checkpoints/{checkpoints.LAST}")
    tensors = checkpoints.load(last).tensors
    rows = [name for name in tensors if name.split(".")[-2:-1] in (["A"], ["B"])]
    assert len(rows) == 4 and all(name.startswith("model.layers.") for name in rows)
    assert {"best.A1", "best.b.0", "best.layers.0.m", "best.layers.1.m"} <= tensors.keys()


BOUNDED = {
    "images by epoch": (
        "task=cifar10",
        "model=pi_limit",
        "model.landmarks=epoch",
        "trainer.decay=0.01",
        "task.batch=40",
    ),
    "images by number": (
        "task=cifar10",
        "model=pi_limit",
        "model.landmarks=50",
        "model.older_rows=0.5",
        "task.batch=40",
    ),
    "few-shot": ("task=maml_pi", "model=pi_limit", "model.landmarks=100"),
}


def rows_of(metrics):
    return [row["model/rows_2"] for row in metrics if "model/rows_2" in row]


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("after", [1, 5, 10])
@pytest.mark.parametrize("name", BOUNDED)
def test_a_bounded_run_that_is_killed_resumes_to_the_same_numbers(tmp_path, name, after):
    """Also between a projection and the next checkpoint, and from the middle of what calls for the next projection."""
    config = lambda folder: small(folder, *BOUNDED[name], "trainer.epochs=4", "trainer.checkpoint_every=1")
    undisturbed = train.run(config(tmp_path / "a"))
    with killed_after(after):
        train.run(config(tmp_path / "b"))
    train.run(config(tmp_path / "b"))
    metrics = [metrics_of(folder_of(tmp_path / folder, undisturbed)) for folder in "ab"]
    assert metrics[0] == metrics[1]
    assert metrics[0][-2]["model/projections_2"] >= 2 and len(rows_of(metrics[0])) == 4


@pytest.mark.filterwarnings("ignore:projected onto")
def test_a_run_that_ends_inside_an_epoch_does_not_project_onto_a_part_of_it(tmp_path):
    options = ("task.batch=40", "trainer.steps=8", "trainer.epochs=4", "model.landmarks=epoch")
    summary = train.run(small(tmp_path, "task=cifar10", "model=pi_limit", *options))
    assert rows_of(metrics_of(folder_of(tmp_path, summary))) == [32 + 120, 32 + 120]


@pytest.mark.filterwarnings("ignore:projected onto")
def test_landmarks_are_part_of_what_a_run_is(tmp_path):
    ids = [
        train.run(small(tmp_path, "task=cifar10", "model=pi_limit", "trainer.epochs=1", *more))["id"]
        for more in ([], ["model.older_rows=2"], ["model.landmarks=epoch"], ["model.landmarks=100"])
    ]
    assert ids[0] == ids[1] and len(set(ids)) == 3


@pytest.mark.filterwarnings("ignore:projected onto")
def test_networks_are_drawn_from_a_bounded_limit(tmp_path):
    common = ("task=cifar10", "task.subset=400", "model.depth=2", "model.alpha_out=0.5", "model.beta=0.5")
    limit = train.run(small(tmp_path, *common, "model=pi_limit", "model.landmarks=epoch", "trainer.epochs=4"))
    best = folder_of(tmp_path, limit) / "checkpoints/best.safetensors"
    drawn = small(
        tmp_path, *common, "model=pi_net", "trainer.epochs=0", f"model.sampled_from={best}", "model.width=4096"
    )
    accuracies = [summary["metrics"]["test/accuracy"] for summary in (limit, train.run(drawn))]
    assert accuracies[0] > 75 and abs(accuracies[0] - accuracies[1]) < 5

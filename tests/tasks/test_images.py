"""Classification of images: splits, subsets, kernel regression and the pi-limit as runs, and what is refused."""

import json

import numpy as np
import pytest
import torch

from infwidth import train
from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.models.family import config_of, largest_fitting
from infwidth.models.pi.rows import BLOCK
from infwidth.tasks.images.task import Images, ImagesConfig
from infwidth.training import prediction
from tests.build import built
from tests.training.helpers import small

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)


def arrays(train=50, test=20):
    g = torch.Generator().manual_seed(0)
    found = {}
    for name, n in (("train", train), ("test", test)):
        found[f"{name}_x"] = torch.randint(256, (n, 12), generator=g, dtype=torch.uint8)
        found[f"{name}_y"] = torch.arange(n) % 5
    found["train_x"][:, 0] = torch.arange(train)  # every training image says which it is
    return found


def task(**more):
    keys = {
        "name": "cifar10",
        "batch": 8,
        "images": "subset",
        "subset": 30,
        "validation_images": 10,
        "mean": MEAN,
        "std": STD,
        "probe_images": 2,
    }
    return Images(ImagesConfig(**{**keys, **more}), arrays(), tuple("abcde"), 0, torch.device("cpu"), torch.float64)


def identities(x):
    return ((x[:, 0] * STD[0] + MEAN[0]) * 255).round().long().tolist()


def test_subsets_are_nested_shared_and_apart_from_validation():
    large, small_, alone, everything = task(), task(subset=12), task(validation_images=0), task(images="all")
    ids = [identities(t.x["train"]) for t in (large, small_, alone, everything)]
    assert ids[0][:12] == ids[1] and ids[2] == ids[0] and set(ids[0]) < set(ids[3]) and len(set(ids[3])) == 40
    held = identities(large.x["validation"])
    assert len(set(held)) == 10 and not set(held) & set(ids[3])
    x = arrays()["train_x"][ids[0]].double().reshape(30, 3, 4) / 255
    expected = (x - torch.tensor(MEAN)[:, None].double()) / torch.tensor(STD)[:, None].double()
    torch.testing.assert_close(large.x["train"], expected.flatten(1))


def test_batches_are_every_image_once_in_another_order_each_epoch():
    one = task()
    orders = [[i for x, _ in one.batches(epoch) for i in identities(x)] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(identities(one.x["train"])) and orders[0] != orders[1]
    assert [len(y) for _, y in one.batches(0)] == [8, 8, 8, 6] and one.steps_per_epoch == 4
    assert [identities(x) for x, _ in one.batches(1, 2)] == [identities(x) for x, _ in one.batches(1)][2:]


@pytest.mark.parametrize(
    "more, message",
    [
        ({"subset": 45}, "task.subset \\+ task.validation_images is 45 \\+ 10, but the data has 50 training images"),
        ({"mean": (0.1, 0.2), "std": (1.0,)}, "give one for each channel"),
        ({"mean": (0.1,) * 5, "std": (1.0,) * 5}, "give one for each channel"),
    ],
)
def test_what_has_no_meaning_says_why(more, message):
    with pytest.raises(ConfigError, match=message):
        task(**more)


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
        for line in (tmp_path / "results/runs/cifar10" / summary["id"] / "metrics.jsonl").read_text().splitlines()
    ]
    assert (
        rows[0]["fit/regulariser"] == metrics["fit/regulariser"]
        and rows[0]["validation/accuracy"] == metrics["test/accuracy"]
    )


def test_the_pi_limit_learns_and_its_arrays_grow_as_predicted(tmp_path, capsys):
    config = small(tmp_path, "task=cifar10", "model=pi_limit", "trainer.dtype=float64")
    summary = train.run(config)
    assert summary["metrics"]["test/accuracy"] > 60
    assert "GB of parameters, about" in capsys.readouterr().out
    shape = Shape(64, 10, False, 120, 32, 12, 160)
    held = 2 * BLOCK * ((32 + 32) * 8 + 4) - BLOCK * (32 - 10) * 8  # a block of each layer, the readout narrower
    assert (
        config_of(config["model"]).memory(shape, torch.float64) == held + 2 * 2 * 32 * (32 + 12 * 32) * 8 + 64 * 32 * 8
    )
    assert (
        config_of(config["model"]).work(shape, None, torch.float32).flops
        > 2 * config_of(config["model"]).work(Shape(64, 10, False, 120, 32, 6, 160), None, torch.float32).flops
    )


def test_selection_on_the_test_is_what_the_paper_does(tmp_path):
    summary = train.run(small(tmp_path, "task=cifar10", "model=pi_limit", "trainer.selection=paper"))
    folder = tmp_path / "results/runs/cifar10" / summary["id"]
    watched = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert summary["metrics"]["test/accuracy"] == max(row.get("validation/accuracy", 0) for row in watched)


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
    config = small_model("pi_limit")
    shape = Shape(64, 10, False, 120, 32, 10**6, 160)
    name, steps = largest_fitting(config_of(config), shape, 10**8, torch.float32)
    assert name == "steps"
    sizes = [
        config_of(config).memory(Shape(64, 10, False, 120, 32, n, 160), torch.float32) for n in (steps, steps + 200)
    ]
    assert sizes[0] <= 10**8 < sizes[1]


def small_model(name):
    from infwidth.runs.compose import composed

    return composed("train", ["task=cifar10", f"model={name}", "scale=demo"])["model"]


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


def test_networks_are_drawn_from_a_trained_pi_limit(tmp_path):
    """Wide ones predict as it does; all of them have learned without being trained themselves."""
    limit = train.run(small(tmp_path, "task=cifar10", "model=pi_limit", "task.subset=400", "trainer.epochs=4"))
    path = tmp_path / "results/runs/cifar10" / limit["id"] / "checkpoints/best.safetensors"
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


SAME = {
    "alpha_1": 1,
    "alpha_out": 0.5,
    "beta": 0.5,
    "first_multiplier": 0.1,
    "readout_multiplier": 4,
    "bias_multiplier": 0.5,
}
"""The multipliers of the pi-limit, which a network drawn from it has to have."""

"""From config groups to models: every pairing that has no meaning says why."""

import dataclasses

import pytest
import torch
import yaml

from infwidth import models
from infwidth.described import known
from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.models.family import config_of, find, largest_fitting
from infwidth.models.linear import LinearNet
from infwidth.models.mlp import MLP
from tests.build import built
from tests.conftest import REPOSITORY

FINITE = {
    "name": "finite",
    "width": 6,
    "depth": 1,
    "activation": "linear",
    "sigma_u": 1.0,
    "sigma_hidden": 1.0,
    "sigma_v": 1.0,
    "alpha": 1.0,
    "change_of_basis": True,
}
MU = {"name": "mu_limit", "depth": 1, "activation": "linear", "sigma_u": 1.0, "sigma_v": 0.5, "alpha": 1.0}
NTK = {"name": "ntk_limit", "depth": 1, "activation": "relu", "sigma_u": 1.0, "sigma_v": 1.0, "sigma_b": 1.0}
AUTO = {"name": "auto"}


def build(model, parametrization=AUTO, bags=False):
    return built(model, parametrization, Shape(4, 3, bags), torch.Generator().manual_seed(0))


def test_families():
    assert isinstance(build(FINITE), LinearNet)
    assert isinstance(build({**FINITE, "activation": "relu"}), MLP)
    assert isinstance(build({**FINITE, "depth": 2}), MLP)
    assert build(MU)(torch.zeros(2, 4)).shape == (2, 3)
    assert build({**FINITE, "width": 50}).U.shape[0] == 7
    assert build({**FINITE, "width": 50, "change_of_basis": False}).U.shape[0] == 50
    assert build(MU, {"name": "mean_field"}).U.shape[0] == 7
    assert build(NTK, {"name": "custom", "a": [0.5, 1.0], "b": [-0.5, -0.5], "c": -1}).rows == 0  # ntk, shifted


@pytest.mark.parametrize(
    "model, parametrization, message",
    [
        ({**MU, "activation": "relu"}, AUTO, "model=pi_limit"),
        ({**MU, "depth": 2}, AUTO, "model.depth=2 .*not finite-dimensional.* model=pi_limit"),
        (MU, {"name": "ntk"}, "its limit is model=ntk_limit"),
        (NTK, {"name": "mup"}, "its limit is model=mu_limit"),
        (NTK, {"name": "standard", "c": 0}, "unstable because"),
        ({**NTK, "name": "nngp_limit"}, {"name": "standard", "c": 0.0}, "logits explode"),
        ({**NTK, "depth": 2}, AUTO, "model.convention=tp4 has kernels of one hidden layer, not of model.depth=2"),
        ({**FINITE, "width": 0}, AUTO, "model.width is 0; it must be at least 1"),
        ({**FINITE, "activation": "tanh"}, AUTO, "choose one of: linear, relu"),
        ({**FINITE, "depth": 2}, {"name": "mean_field"}, "one hidden layer only"),
        (
            FINITE,
            {"name": "custom", "a": [0, 0, 0], "b": [0, 0, 0], "c": 0},
            "has 3 exponents; a network of model.depth=1 has 2",
        ),
        (FINITE, {"name": "custom", "c": 0}, "needs parametrization.a"),
        (FINITE, {"name": "mup", "a": [0, 0]}, "use parametrization=custom"),
        ({**FINITE, "momentum": 1}, AUTO, "model.momentum is not a known key"),
        ({"name": "transformer"}, AUTO, "choose one of: finite, mu_limit"),
    ],
)
def test_what_has_no_meaning_says_why(model, parametrization, message):
    with pytest.raises(ConfigError, match=message):
        build(model, parametrization)


NNGP = {"name": "nngp_limit", "depth": 2, "convention": "pilim"}


@pytest.mark.parametrize(
    "parametrization",
    [
        AUTO,
        {"name": "readout_only"},
        {"name": "custom", "a": [0, 0.5, 0], "b": [0, 0, 0.5], "c": 1},
        {"name": "custom", "a": [-0.5, 0, -0.5], "b": [0.5, 0.5, 1], "c": 2},  # the same, shifted
        {"name": "custom", "a": [0, 1, 0], "b": [0, -0.5, 0.5], "c": 1},  # the second layer moves yet more slowly
    ],
)
def test_a_deep_nngp_takes_every_parametrization_in_which_the_readout_alone_moves(parametrization):
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    assert build(NNGP, parametrization).kernel(x, x).shape == (3, 3)


@pytest.mark.parametrize(
    "parametrization, message",
    [
        ({"name": "standard", "c": 1}, "with the tangent kernel of layers 2, 3 alone. Use .* or readout_only"),
        ({"name": "ntk"}, "its limit is model=ntk_limit. Use parametrization=auto or readout_only"),
        (
            {"name": "custom", "a": [0, 0, 0], "b": [0, 0.5, 0.5], "c": 1},
            "parametrization=custom .*of layers 2, 3 alone",
        ),
        ({"name": "custom", "a": [0, 0.5, 0], "b": [0, 0, 0], "c": 1}, "unstable because a . b of the readout = 0"),
        ({"name": "custom", "a": [0, 0], "b": [0, 0.5], "c": 1}, "has 2 exponents; a network of model.depth=2 has 3"),
    ],
)
def test_a_deep_nngp_refuses_every_other(parametrization, message):
    with pytest.raises(ConfigError, match=message):
        build(NNGP, parametrization)


def test_auto_has_a_name_for_every_model():
    names = known(models, "FAMILY")
    assert names == ["finite", "mu_limit", "nngp_limit", "ntk_limit", "pi_limit", "pi_net"]
    for name in names:
        assert find(name).name == name
        assert config_of({"name": name}).own().name in ("mup", "ntk", "standard")


@pytest.mark.parametrize("name", known(models, "FAMILY"))
def test_the_config_file_of_a_family_shows_its_defaults(name):
    shown = yaml.safe_load((REPOSITORY / "conf" / "model" / f"{name}.yaml").read_text())
    own = {field.name: field.default for field in dataclasses.fields(find(name).config)}
    assert shown == {**own, "name": name}


@pytest.mark.parametrize("model", [FINITE, MU, {**MU, "sigma_v": 0.0}, {**NTK, "activation": "linear", "sigma_b": 0.0}])
def test_memory_is_predicted_before_anything_is_allocated(model):
    model = {**model, "change_of_basis": False} if model is FINITE else model
    for bags in (False, True) if model["name"] != "ntk_limit" else (True,):
        net = build(model, bags=bags)
        assert config_of(model).memory(Shape(4, 3, bags), torch.float32) == sum(
            t.numel() * t.element_size() for t in net.state().values()
        )


def test_the_largest_that_fits():
    free, config = 1000 * 4, config_of({**MU, "sigma_v": 0.0})
    n = largest_fitting("inputs", Shape(5, 5, True), free, lambda shape: config.memory(shape, torch.float32))
    sizes = [config.memory(Shape(k, k, True), torch.float32) for k in (n, n + 1)]
    assert sizes[0] <= free < sizes[1] and n == 22


def test_deep_networks_take_no_bags():
    with pytest.raises(ConfigError, match="no bags of indices"):
        build({**FINITE, "depth": 2}, bags=True)
    with pytest.raises(ConfigError, match="model.initial=gaussian"):
        build({**FINITE, "depth": 2, "initial": "uniform"})


def test_a_uniform_first_layer_has_the_variance_of_a_gaussian_one():
    wide = {**FINITE, "width": 400, "sigma_u": 2.0, "change_of_basis": False}
    uniform, gaussian = (build({**wide, "initial": kind}).U.detach() for kind in ("uniform", "gaussian"))
    assert uniform.abs().max() <= 2 * (3 / 400) ** 0.5 < gaussian.abs().max()
    assert abs(uniform.std() / gaussian.std() - 1) < 0.1

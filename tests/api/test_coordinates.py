"""The coordinate check of any network."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import infwidth as iw
from tests.api.data import examples

WIDTHS = (64, 128, 256, 512)


def mlp(width):
    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))


def checked(build, **keys):
    x, y = examples(dtype=torch.float32)
    return iw.coordinate_check(build, x.numpy(), y, **{"widths": WIDTHS, "rate": 0.5, "seeds": 4, **keys})


def test_mup_moves_features_by_order_one_and_ntk_does_not():
    mup = checked(lambda n: iw.finite(5, 3, n, seed=None))
    ntk = checked(lambda n: iw.finite(5, 3, n, parametrization="ntk", seed=None))
    assert mup.layers == ["layer 1", "layer 2", "output"]
    for layer in ("layer 1", "layer 2"):
        assert all(abs(slope) < 0.15 for slope in mup.slopes[layer])
        start, change = ntk.slopes[layer]
        assert abs(start) < 0.1 and -0.65 < change < -0.35
    assert -0.7 < mup.slopes["output"][0] < -0.3 and abs(mup.slopes["output"][1]) < 0.15
    assert "layer 2" in str(mup) and "from 64 to 512" in str(mup)


def test_the_layers_of_any_torch_module_are_seen_as_they_are_called():
    check = checked(mlp, rate=0.01)
    assert check.layers == ["0", "1", "2", "3", "4", "output"]  # torch's own parametrization, by module
    assert check.initial["4"] == check.initial["output"] and check.change["4"] == check.change["output"]
    torch.manual_seed(1)
    net, x = mlp(64), examples(dtype=torch.float32)[0]
    before = net[0](x).detach()
    torch.nn.functional.cross_entropy(net(x), examples()[1]).backward()
    with torch.no_grad():
        for p in net.parameters():
            p -= 0.01 * p.grad
    one = checked(mlp, rate=0.01, steps=1, seeds=2)
    alone = (net[0](x) - before).square().mean().item()
    assert 0.2 < one.change["0"][0] ** 2 / alone < 5 and one.initial["0"][0] == pytest.approx(0.6, rel=0.3)
    assert not net[0]._forward_hooks


def test_an_optimizer_of_ones_own_and_what_is_drawn_stays_ones_own():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    adam = checked(mlp, optimizer=lambda net: torch.optim.Adam(net.parameters(), lr=1e-3), steps=2)
    assert torch.equal(torch.rand(3), expected)
    assert adam.slopes["2"][1] > 0.3  # Adam's steps are of one size, so that standard parametrization blows up


def test_what_blows_up_has_no_slope():
    check = checked(
        lambda n: iw.finite(5, 3, n, parametrization="standard", activation="linear", seed=None), rate=1e6, steps=9
    )
    assert np.isnan(check.slopes["layer 2"][1]) and np.isfinite(check.slopes["layer 1"][0])


@pytest.mark.parametrize(
    "make",
    [lambda n: iw.finite(5, 3, n, 1, activation="linear", seed=None), lambda n: iw.pi_net(5, 3, n, 4, seed=None)],
)
def test_other_networks_of_ours(make):
    assert "output" in checked(make, seeds=1, steps=1).layers


def test_a_plot_is_a_figure_and_matplotlib_is_asked_for_then(tmp_path):
    check = checked(lambda n: iw.finite(5, 3, n, seed=None), seeds=1)
    figure = check.plot(tmp_path / "check.png")
    assert len(figure.axes) == 2 and len(figure.axes[0].lines) == 3 and (tmp_path / "check.png").stat().st_size > 5000
    blocked = (
        "import sys, infwidth as iw; sys.modules['matplotlib'] = None\n"
        "try: iw.CoordinateCheck((1, 2), 1, {}, {}).plot()\n"
        "except iw.InfwidthError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert done.stdout == "a plot needs matplotlib; pip install matplotlib.\n", done.stderr


@pytest.mark.parametrize(
    "keys, sentence",
    [
        ({"widths": (64,)}, "give at least two, from narrow to wide"),
        ({"widths": (128, 64)}, "from narrow to wide"),
        ({"steps": 0}, "steps is 0"),
        ({"seeds": 0}, "seeds is 0"),
        ({"rate": -1}, "rate is -1"),
        ({"loss": "mse"}, "loss is 'mse'"),
    ],
)
def test_what_is_wrong_is_a_sentence(keys, sentence):
    with pytest.raises(iw.InfwidthError, match=sentence):
        checked(mlp, **keys)

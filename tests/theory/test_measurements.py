"""The measurements of the theory experiment against what the theory says, at small sizes."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from infwidth import report
from infwidth.config import load
from infwidth.models.mlp import Factors, finite
from infwidth.parametrization import ABC, classify, named
from infwidth.reporting.theory import agreeing, best_rates, exponents, slopes
from infwidth.seeding import stream
from infwidth.theory import convergence, coordinate_check, dichotomy, learning_rates, plane
from infwidth.theory.descent import squared_loss
from infwidth.theory.experiment import Case, parts, read_recipe
from infwidth.theory.exponents import explosions, predicted
from infwidth.theory.tracked import Tracked, draw

HALF = Fraction(1, 2)
RECIPE = read_recipe(report.EXPERIMENTS / report.THEORY)


@pytest.mark.parametrize(
    "abc",
    [named("mup", 2), named("ntk", 2), named("standard", 2, 1), named("mup", 3), named("mean_field", 1)],
    ids=lambda abc: f"{abc.name}-{abc.depth}",
)
def test_tracked_is_the_network_of_the_models(abc):
    """The same initial weights and steps through the multilayer perceptron give the same outputs and changes."""
    width, inputs, outputs, rate = 12, 5, 3, 0.3
    omegas = draw(width, inputs, outputs, abc.depth, stream("tracked"), torch.float64)
    net = finite(
        width, inputs, outputs, (1.0,) * (abc.depth + 1), Factors(), abc, "relu", stream("other"), torch.float64
    )
    shifted = abc.shifted(abc.c / 2)
    with torch.no_grad():
        for l, omega in enumerate(omegas, start=1):
            getattr(net, f"w{l}").copy_(omega * shifted.layer(l, width).init_std)
    x, g = torch.randn(7, inputs, generator=stream("x"), dtype=torch.float64), stream("targets")
    loss = squared_loss(torch.randn(7, outputs, generator=g, dtype=torch.float64))
    tracked = Tracked(omegas, width, abc, rate)
    initial = tracked.forward(x)
    for _ in range(3):
        f, pullback = net.linearized(x)
        torch.testing.assert_close(tracked.step(x, loss), f.detach())
        net.apply_update(pullback(loss(f.detach())), rate)
    hs, xs, f = tracked.forward(x)
    delta_h, delta_x, delta_f = tracked.changes(x, initial)
    torch.testing.assert_close(f, net(x).detach())
    torch.testing.assert_close(delta_f, f - initial[2])
    for l in range(abc.depth):
        torch.testing.assert_close(delta_h[l], hs[l] - initial[0][l])
        torch.testing.assert_close(delta_x[l], xs[l] - initial[1][l])


CHECK = coordinate_check.Check(
    depths=(1, 2),
    widths=(32, 64, 128, 256, 512, 1024),
    fitted=4,
    seeds=16,
    steps=(1, 2, 5),
    rate=0.5,
    inputs=8,
    outputs=8,
    examples=6,
    resamplings=100,
)


@pytest.fixture(scope="module", params=CHECK.depths)
def check(request):
    return coordinate_check.table(RECIPE.at(request.param), request.param, CHECK)


def test_exponents_of_stable_parametrizations(check):
    """At these small widths the changes are not all in their asymptotic regime; the full sizes are the experiment's."""
    stable = check[check.regime != "unstable"]
    assert agreeing(stable).mean() > 0.9
    assert ((stable.slope - stable.predicted).abs() < 0.2).all()


def test_lines_of_the_same_draws_are_told_from_others(check):
    """h_0 and f_0 of stable parametrizations are one network's, times a power of the width; so are few other lines."""
    stable = check[check.regime != "unstable"]
    at_start = stable[stable.steps == 0]
    for _, lines in at_start.groupby(["quantity", "layer"], dropna=False):
        assert len(lines) > 4 and lines.draws.nunique() == 1
    depth = check.depth.iloc[0]
    assert at_start.draws.nunique() == depth + 1
    for _, lines in stable.groupby("draws"):
        assert np.ptp(lines.slope - lines.predicted) < 1e-4 and lines.quantity.nunique() == 1
    # muP and mean field are the same training at depth 1; else two kernel regimes share the first Delta h^1 only.
    shared = stable[(stable.steps > 0) & stable.duplicated("draws", keep=False)]
    assert len(shared) == (2 * 9 + 2 if depth == 1 else 2)


def test_a_line_that_differs_at_one_width_is_another_measurement():
    lines = pd.DataFrame({"predicted": [0, -0.5, 0, 0], "rms_4": [2, 10, 2, np.inf], "rms_16": [3, 7.5, 3.01, 1]})
    assert coordinate_check.draws(lines).tolist() == [0, 0, 1, 2]


def test_unstable_parametrizations_blow_up_where_they_should(check):
    lines = exponents(check)
    unstable = lines[lines.regime == "unstable"]
    assert len(unstable) >= 3
    for text in unstable["seen to blow up (of those predicted)"]:
        seen, wanted = text.rsplit("(", 1)[1].rstrip(")").split(" of ")
        assert seen == wanted and int(wanted) > 0, text


def test_a_wrong_prediction_does_not_agree(check):
    wrong = check[check.regime != "unstable"].assign(predicted=lambda t: t.predicted + 0.25)
    assert agreeing(wrong).mean() < 0.05


def test_explosions_are_those_of_unstable_parametrizations():
    for depth in (1, 2, 3):
        for abc in RECIPE.at(depth).values():
            assert bool(explosions(abc)) == (not classify(abc).stable)


def test_size_of_activations_at_initialisation():
    assert predicted(ABC((0, Fraction(1, 4), HALF), (0, 0, 0), HALF)).h_0 == (0, Fraction(1, 4))


def test_the_dichotomy():
    pairs = {name: (RECIPE.at(2).get(name), abc) for name, abc in RECIPE.at(1).items() if classify(abc).nontrivial}
    found = dichotomy.table(
        pairs, dichotomy.Dichotomy(depth=2, widths=(64, 1024), seeds=4, steps=20, rate=0.5, inputs=8, examples=6)
    )
    narrow, wide = (found[found.width == w].set_index(["parametrization", "activation"]) for w in (64, 1024))
    frozen, learning = wide.index[wide.r > 0], wide.index[wide.r == 0]
    assert len(frozen) > 2 and len(learning) > 2
    assert (wide.kernel_moves[frozen] < 0.75 * narrow.kernel_moves[frozen]).all() and (
        wide.from_kernel_descent[frozen] < 0.75 * narrow.from_kernel_descent[frozen]
    ).all()
    assert (wide.kernel_moves[learning] > 0.75 * narrow.kernel_moves[learning]).all() and (
        wide.from_kernel_descent[learning] > 0.05
    ).all()
    linear = wide.xs("linear", level="activation")
    assert (linear.from_mu_limit[linear.r == 0] < 0.03).all() and (linear.from_mu_limit[linear.r > 0] > 0.05).all()


def test_the_tangent_kernel_is_that_of_autograd():
    abc, x = named("ntk", 2), torch.randn(4, 3, generator=stream("x"), dtype=torch.float64)
    omegas = draw(10, 3, 1, 2, stream("w"), torch.float64)
    net = finite(10, 3, 1, (1.0,) * 3, Factors(), abc, "relu", stream("other"), torch.float64)
    with torch.no_grad():
        for l, omega in enumerate(omegas, start=1):
            getattr(net, f"w{l}").copy_(omega)
    gradients = [
        torch.cat([g.flatten() for g in torch.autograd.grad(net(x)[i, 0], list(net.parameters()))]) for i in range(4)
    ]
    J = torch.stack(gradients)
    torch.testing.assert_close(dichotomy.tangent_kernel(Tracked(omegas, 10, abc, 0.1), x), 0.1 * J @ J.mT)


def test_finite_networks_converge_to_their_limits():
    settings = convergence.Convergence(
        widths=(64, 256, 1024),
        draws=12,
        marks=(0, 5),
        rate_mu=0.2,
        rate_pi=0.2,
        depth=2,
        rank=8,
        inputs=6,
        outputs=3,
        examples=8,
    )
    found = slopes(convergence.table(settings))
    assert len(found) == 4  # two limits, before training and after it
    for slope in found.values():
        assert -0.65 < slope < -0.35


def test_the_best_learning_rate_stays_put_in_mup_only():
    settings = learning_rates.LearningRates(
        depth=2, base_width=64, widths=(64, 512), lowest=-7, highest=-3, seeds=1, steps=40, share=0.25, batch=64
    )
    best = best_rates(learning_rates.table(RECIPE.at(2, ("μP", "standard, c = 0")), settings))
    (_, narrow), (_, wide) = best["μP"]
    assert narrow == wide
    (_, narrow), (_, wide) = best["standard, c = 0"]
    assert wide < narrow


def test_regimes_of_the_plane():
    found = plane.table(2, [Fraction(1), Fraction(3, 2)], Fraction(1, 4))
    places = found[found.name.notna() & (found.name != "")].set_index("name")
    assert (
        tuple(places.loc["mup", ["readout", "c", "update"]])
        == (1, 0, 1)
        == tuple(places.loc["mean_field (depth 1)", ["readout", "c", "update"]])
    )
    assert (
        tuple(places.loc["ntk", ["readout", "c", "update"]])
        == (0.5, 1, 1)
        == tuple(places.loc["standard, c = 1", ["readout", "c", "update"]])
    )
    grid = found[found.name == ""]
    for line in places[
        places["update"] == 1
    ].itertuples():  # the map says of a named parametrization's place what its own exponents say
        here = grid[(grid.readout == line.readout) & (grid.c == line.c) & (grid["update"] == 1)]
        assert list(here.regime) == [line.regime]
    assert set(grid[grid["update"] == 1].regime) == {"unstable", "kernel", "feature learning"}
    assert "trivial" in set(grid[grid["update"] == 1.5].regime)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_member_of_the_plane_has_its_coordinates(depth):
    for readout, c, update in [(1, 0, 1), (HALF, 1, 1), (Fraction(3, 4), HALF, Fraction(3, 2))]:
        assert plane.coordinates(plane.member(Fraction(readout), Fraction(c), depth, Fraction(update))) == (
            readout,
            c,
            update,
        )
    assert plane.member(Fraction(1), Fraction(0), depth).same_training(named("mup", depth))


def test_intervals_of_slopes():
    g = np.random.default_rng(0)
    widths = [64, 128, 256, 512]
    squares = np.array([[w**-1.0] for w in widths]) * g.chisquare(4, size=(4, 50)) / 4
    fit, low, high = coordinate_check.slope(squares, widths, 300, np.random.default_rng(1))
    assert low < fit < high and low < -0.5 < high and math.isclose(fit, -0.5, abs_tol=0.1)


def test_exponents_of_a_recipe_may_be_fractions():
    between = load(Case, {"name": "between", "readout": "3/4", "c": "1/2"}, "recipe")
    assert between.at(2) == RECIPE.at(2)["between NTK and μP"]
    own = load(Case, {"name": "own", "a": [0, "1/4", "1/2"], "b": [0, 0, 0], "c": "1/2"}, "recipe")
    assert own.at(2) == RECIPE.at(2)["hidden layer too large"] and own.at(1) is None


def test_parts_of_every_scale():
    for scale in ("demo", "cpu", "paper"):
        names = [part.name for part in parts(RECIPE, scale)]
        assert names == [
            "coordinate_check_1",
            "coordinate_check_2",
            "coordinate_check_3",
            "dichotomy",
            "plane",
            "convergence",
            "learning_rates",
        ]

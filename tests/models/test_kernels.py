"""Kernel limits: the kernels themselves, the growing expansion, and finite networks that converge to them."""

import math

import numpy as np
import pytest
import torch

from infwidth.errors import CheckpointError, ConfigError
from infwidth.models import mlp
from infwidth.models.family import config_of
from infwidth.models.kernel import DeepKernel, GeneralKernel, Kernel, KernelMachine, KernelRegression
from infwidth.parametrization import named
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.theory.exponents import predicted

D, K = 5, 3

PHI = {"relu": torch.relu, "linear": lambda h: h, "erf": torch.erf, "gelu": torch.nn.functional.gelu}


def inputs(n, seed=0):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def derivative_of(phi, h):
    h = h.clone().requires_grad_()
    return torch.autograd.grad(phi(h).sum(), h)[0]


@pytest.mark.parametrize("activation", PHI)
def test_kernels_are_expectations_over_a_wide_hidden_layer(activation):
    su, sv, sb, n = 0.8, 0.6, 0.5, 400_000
    g = torch.Generator().manual_seed(1)
    x, y = inputs(2), inputs(3, 1)
    U, b = (
        su * torch.randn(n, D, generator=g, dtype=torch.float64),
        sb * torch.randn(n, generator=g, dtype=torch.float64),
    )
    phi = PHI[activation]
    hx, hy = x @ U.T + b, y @ U.T + b
    nngp = phi(hx) @ phi(hy).T / n
    ntk = nngp + sv**2 * (x @ y.T) * (derivative_of(phi, hx) @ derivative_of(phi, hy).T / n)
    torch.testing.assert_close(Kernel(activation, False, su, sv, sb)(x, y), nngp, rtol=0.02, atol=0.02)
    torch.testing.assert_close(Kernel(activation, True, su, sv, sb)(x, y), ntk, rtol=0.02, atol=0.02)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ConfigError, match="activation 'tanh' is not known; choose one of: linear, relu, erf, gelu"):
        Kernel("tanh", False, 1.0, 1.0, 0.0)
    with pytest.raises(ConfigError, match="activation 'erf' is not known; choose one of: linear, relu"):
        mlp.finite(3, D, K, (1.0, 1.0), mlp.Factors(), named("mup", 1), "erf", torch.Generator())
    with pytest.raises(ConfigError, match="activation 'tanh' is not known; choose one of: relu, linear, erf, gelu"):
        GeneralKernel("tanh", 2)


def drawn_kernels(phi, x, n, sigma_w, sigma_b, weights, biases, g):
    """NNGP and NTK of a random network of width n, the latter layer by layer, with weights and biases of (0, 1)."""
    activations, h, W = [x / math.sqrt(D)], [], []
    for _ in range(len(weights) - 1):
        W.append(torch.randn(n, activations[-1].shape[1], generator=g, dtype=torch.float64))
        h.append(sigma_w * activations[-1] @ W[-1].T + sigma_b * torch.randn(n, generator=g, dtype=torch.float64))
        activations.append(phi(h[-1]) / math.sqrt(n))
    nngp = activations[-1] @ activations[-1].T
    ntk = weights[-1] * nngp + biases[-1]
    at_x = torch.randn(n, generator=g, dtype=torch.float64).expand(len(x), n)  # the readout's row
    for l in reversed(range(len(h))):
        at_h = at_x * derivative_of(phi, h[l]) / math.sqrt(n)
        below = weights[l] * activations[l] @ activations[l].T + biases[l]
        ntk, at_x = ntk + sigma_w**2 * below * (at_h @ at_h.T), sigma_w * at_h @ W[l]
    return torch.stack([nngp, ntk])


@pytest.mark.parametrize("activation", ["linear", "erf", "gelu"])
def test_deep_kernels_are_those_of_wide_networks(activation):
    sigma_w, sigma_b, weights, biases, draws = 1.3, 0.4, (0.5, 2.0, 1.5), (1.0, 0.3, 0.7), 8
    x, g = inputs(6), torch.Generator().manual_seed(1)
    drawn = (drawn_kernels(PHI[activation], x, 1500, sigma_w, sigma_b, weights, biases, g) for _ in range(draws))
    nngp, ntk = sum(drawn) / draws
    sizes = (activation, 2, sigma_w**2, sigma_b**2)
    for limit, found in (
        (GeneralKernel(*sizes)(x, x), nngp),
        (GeneralKernel(*sizes, True, weights, biases)(x, x), ntk),
    ):
        assert (limit - found).abs().max() < 0.05 * limit.max()


def test_without_a_bias_a_general_kernel_follows_its_inputs_rows_and_columns():
    x, y = inputs(4), inputs(3, 1)
    for tangent in (False, True):
        kernel = GeneralKernel("gelu", 3, 1.7, 0.0, tangent)
        together = kernel(torch.cat([x, y]), torch.cat([x, y]))
        torch.testing.assert_close(kernel(x, y), together[:4, 4:])
        torch.testing.assert_close(together, together.T)
        assert torch.linalg.eigvalsh(together).min() > 0
        assert torch.isfinite(kernel(torch.zeros(1, D, dtype=torch.float64), y)).all()


def test_a_zero_input_without_bias_has_a_finite_kernel():
    x = torch.zeros(1, D, dtype=torch.float64)
    for tangent in (False, True):
        assert torch.isfinite(Kernel("relu", tangent, 1.0, 1.0, 0.0)(x, inputs(2))).all()


@pytest.mark.parametrize("tangent, name, c", [(True, "ntk", None), (False, "standard", 1)])
def test_wide_networks_train_as_their_kernel_limit(tangent, name, c):
    """ReLU networks without biases, centred at their initial function, approach kernel descent at rate n^{-1/2}."""
    x, y, test = inputs(6), torch.tensor([0, 1, 2, 0, 1, 2]), inputs(4, 7)
    machine = KernelMachine(Kernel("relu", tangent, 0.9, 0.7, 0.0), D, K, torch.float64)
    errors = []
    for n in (256, 4096):
        squares = []
        for seed in range(6):
            net = mlp.finite(
                n,
                D,
                K,
                (0.9, 0.7),
                mlp.Factors(),
                named(name, 1, c),
                "relu",
                torch.Generator().manual_seed(seed),
                torch.float64,
            )
            if not tangent:
                # f starts as a random function of order one; without it the comparison is of the training alone
                with torch.no_grad():
                    net.w2.zero_()
            start, start_test = net(x).detach(), net(test).detach()
            machine = KernelMachine(machine.kernel, D, K, torch.float64)
            for _ in range(4):
                # the limit sees the cotangents of its own outputs, started from the network's initial function
                f_net, f_limit = net(x).detach(), start + machine(x)
                net.apply_update(net.gradient(x, cross_entropy_cotangent(f_net, y)), 0.5)
                machine.apply_update(machine.gradient(x, cross_entropy_cotangent(f_limit, y)), 0.5)
            squares.append((net(test).detach() - start_test - machine(test)).square().mean().item())
        errors.append(math.sqrt(np.mean(squares)))
    assert machine(test).abs().max() > 0.05
    assert errors[1] < 0.05 and 2.0 < errors[0] / errors[1] < 8.0  # 4 expected of 16 times the width


@pytest.mark.parametrize("depth", [2, 3])
def test_wide_deep_networks_train_as_the_nngp_limit_and_hardly_move_their_activations(depth):
    """In the parametrization that model=nngp_limit takes for its own: f at rate n^{-1/2}, Delta x^L as n^{-3/2}."""
    x, y, test = inputs(6), torch.tensor([0, 1, 2, 0, 1, 2]), inputs(4, 7)
    abc = config_of({"name": "nngp_limit", "depth": depth, "convention": "pilim"}).own()
    kernel, sigma = DeepKernel(depth, sigma_w2=1.3**2), 1.3
    widths, errors, moves = (64, 1024), [], []
    for n in widths:
        squares, moved = [], []
        for seed in range(6):
            # PiLim divides by the number of inputs, and so does the first layer's standard deviation here.
            sigmas = (sigma / math.sqrt(D), *[sigma] * (depth - 1), 0.7)
            g = torch.Generator().manual_seed(seed)
            net = mlp.finite(n, D, K, sigmas, mlp.Factors(), abc, "relu", g, torch.float64)
            machine = KernelMachine(kernel, D, K, torch.float64)
            start, start_test, features = net(x).detach(), net(test).detach(), net.features(test)
            for _ in range(4):
                f_net, f_limit = net(x).detach(), start + machine(x)
                net.apply_update(net.gradient(x, cross_entropy_cotangent(f_net, y)), 0.5)
                machine.apply_update(machine.gradient(x, cross_entropy_cotangent(f_limit, y)), 0.5)
            squares.append((net(test).detach() - start_test - machine(test)).square().mean().item())
            moved.append((net.features(test) - features).square().mean().item())
        errors.append(math.sqrt(np.mean(squares)))
        moves.append(math.sqrt(np.mean(moved)))
    assert machine(test).abs().max() > 0.05
    assert errors[1] < 0.03 and 2.0 < errors[0] / errors[1] < 8.0  # 4 expected of 16 times the width
    slope = math.log(moves[1] / moves[0]) / math.log(widths[1] / widths[0])
    assert abs(slope - predicted(abc).delta[-1]) < 0.15


def test_tiles_and_growth_do_not_change_the_function(monkeypatch):
    machine = KernelMachine(Kernel("relu", True, 1.0, 0.5, 0.3), D, K, torch.float64)
    for i in range(5):
        machine.apply_update(
            machine.gradient(
                inputs(4, i), torch.randn(4, K, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
            ),
            0.1,
            decay=0.5,
        )
    assert machine.rows == 20
    x = inputs(9, 42)
    whole = machine(x)
    monkeypatch.setattr("infwidth.models.kernel.machine.TILE", 7)
    torch.testing.assert_close(machine(x), whole)
    torch.testing.assert_close(whole, machine.kernel(x, machine.x) @ machine.a)
    other = KernelMachine(machine.kernel, D, K, torch.float64)
    other.load_state({k: v.clone() for k, v in machine.state().items()})
    torch.testing.assert_close(other(x), whole)
    with pytest.raises(CheckpointError):
        other.load_state({"x": torch.zeros(2, D + 1), "a": torch.zeros(2, K)})


def test_features_have_the_hidden_kernel_as_inner_products():
    kernel, x = Kernel("relu", True, 1.0, 0.5, 0.3), inputs(8)
    f = KernelMachine(kernel, D, K, torch.float64).features(x)
    torch.testing.assert_close(f @ f.T, Kernel("relu", False, 1.0, 0.5, 0.3)(x, x), rtol=1e-8, atol=1e-8)


def test_second_order_is_refused():
    machine = KernelMachine(Kernel("relu", True, 1.0, 0.5, 0.3), D, K)
    with pytest.raises(ConfigError, match="not defined for kernel limits"):
        machine.adapted(torch.zeros(1, 2, D), lambda f: f, 0.1, 1, second_order=True)


@pytest.mark.parametrize(
    "model",
    [
        KernelMachine(Kernel("relu", True, 0.9, 0.7, 0.3), D, K, torch.float64),
        KernelMachine(DeepKernel(2, 1.3, 0.2, True), D, K, torch.float64),
        KernelRegression(DeepKernel(2, 1.3, 0.2, True), (1e-3,), None, D, K, torch.float64),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_kernel_of_features_is_that_of_their_coordinates(model):
    """The coordinates of all inputs at once are what the kernel of any two blocks of inputs agrees with."""
    x, y = inputs(7), inputs(4, 1)
    h = model.features(torch.cat([x, y]))
    h = h / h.norm(dim=1, keepdim=True)
    tile = model.feature_kernel(model.unit_features(x), model.unit_features(y))
    torch.testing.assert_close(tile, h[:7] @ h[7:].mT / 2)


def test_the_kernel_of_features_of_a_zero_input_is_zero():
    model = KernelMachine(DeepKernel(2), D, K, torch.float64)
    assert not model.feature_kernel(torch.zeros(1, D, dtype=torch.float64), inputs(3)).any()

"""The linear network, its mu-limit, and the exact change of basis."""

import numpy as np
import pytest
import torch

from infwidth.errors import CheckpointError, ConfigError
from infwidth.models import linear, mlp
from infwidth.parametrization import named
from infwidth.tasks.losses import cross_entropy_cotangent

D, K = 7, 3


def data(seed=0, episodes=4, shots=5, queries=6, d=D):
    g = torch.Generator().manual_seed(seed)
    xs, xq = (
        torch.randn(episodes, shots, d, generator=g, dtype=torch.float64),
        torch.randn(episodes, queries, d, generator=g, dtype=torch.float64),
    )
    ys, yq = torch.randint(K, (episodes, shots), generator=g), torch.randint(K, (episodes, queries), generator=g)
    return xs, ys, xq, yq


def meta_step(net, batch, second_order=False, rate=0.3, steps=2, meta_rate=0.2):
    xs, ys, xq, yq = batch
    adapted = net.adapted(xs, lambda f: cross_entropy_cotangent(f, ys), rate, steps, second_order)
    outputs, pullback = adapted.linearized(xq)
    net.apply_update(pullback(cross_entropy_cotangent(outputs, yq)), meta_rate)
    return outputs


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("parametrization, c", [("mup", None), ("ntk", None), ("mean_field", None), ("standard", 1)])
@pytest.mark.parametrize("sigma_v", [0.0, 0.7])
def test_the_change_of_basis_leaves_every_output_unchanged(second_order, parametrization, c, sigma_v):
    build = lambda: linear.finite(40, D, K, 1.0, sigma_v, 0.5, named(parametrization, 1, c), generator(), torch.float64)
    plain, reduced = build(), linear.reduced(build())
    assert reduced.U.shape[0] == (D if sigma_v == 0 else D + K)
    for t in range(4):
        torch.testing.assert_close(
            meta_step(plain, data(t), second_order), meta_step(reduced, data(t), second_order), rtol=1e-9, atol=1e-10
        )
    x = data(9)[0][0]
    torch.testing.assert_close(plain(x), reduced(x), rtol=1e-9, atol=1e-10)


def test_the_change_of_basis_keeps_a_bias_outside_the_span():
    net = linear.finite(40, D, K, 1.0, 0.5, 0.5, named("mup", 1), generator(), torch.float64)
    with torch.no_grad():
        net.b.normal_(generator=generator(1))
    reduced = linear.reduced(net)
    assert reduced.U.shape[0] == D + K + 1
    x = data()[0][0]
    torch.testing.assert_close(net(x), reduced(x), rtol=1e-9, atol=1e-10)
    narrow = linear.finite(5, D, K, 1.0, 0.5, 0.5, named("mup", 1), generator(), torch.float64)
    assert linear.reduced(narrow) is narrow


def test_width_8192_at_the_cost_of_789():
    """At the real size, float32: the reduced network follows the plain one through meta-steps."""
    build = lambda: linear.finite(8192, 784, 5, 1.0, 1 / 32, 1.0, named("mup", 1), generator())
    plain, reduced = build(), linear.reduced(build())
    assert reduced.U.shape == (789, 784)
    g = generator(3)
    for _ in range(3):
        xs, xq = torch.rand(4, 5, 784, generator=g), torch.rand(4, 5, 784, generator=g)
        batch = (xs, torch.arange(5).expand(4, 5), xq, torch.arange(5).expand(4, 5))
        torch.testing.assert_close(
            meta_step(plain, batch, meta_rate=0.01), meta_step(reduced, batch, meta_rate=0.01), rtol=1e-3, atol=1e-3
        )


def test_the_limit_without_a_readout_needs_d_coordinates():
    small = linear.mu_limit(D, K, 1.0, 0.0, 1.0, torch.float64)
    assert small.U.shape == (D, D)
    large = linear.LinearNet(
        torch.cat([small.U, torch.zeros(K, D)]).double(), torch.zeros(K, D + K).double(), torch.zeros(D + K).double()
    )
    for t in range(3):
        torch.testing.assert_close(meta_step(small, data(t)), meta_step(large, data(t)))


@pytest.mark.parametrize("sampled_when", ["at initialisation", "after training"])
def test_sampled_networks_approach_the_limit_at_rate_one_over_root_n(sampled_when):
    """Slope -1/2 of the rms difference over widths, of networks that were sampled before training or after it."""
    widths, draws = [64, 256, 1024, 4096], 12
    x = data(11)[0][0]
    limit = linear.mu_limit(D, K, 1.0, 0.5, 1.0, torch.float64)
    untrained = linear.mu_limit(D, K, 1.0, 0.5, 1.0, torch.float64)
    for t in range(5):
        meta_step(limit, data(t))
    rms = []
    for n in widths:
        squares = []
        for s in range(draws):
            if sampled_when == "at initialisation":
                net = linear.reduced(linear.sampled(untrained, n, generator(1000 * n + s)))
                for t in range(5):
                    meta_step(net, data(t))
            else:
                net = linear.sampled(limit, n, generator(1000 * n + s))
            squares.append((net(x) - limit(x)).detach().square().mean().item())
        rms.append(np.sqrt(np.mean(squares)))
    slope = np.polyfit(np.log(widths), np.log(rms), 1)[0]
    assert -0.62 < slope < -0.38
    assert (limit(x) - untrained(x)).abs().max() > 0.1  # training did something to converge to


def test_a_fresh_network_approaches_the_limit():
    x = data(11)[0][0]
    limit = linear.mu_limit(D, K, 1.0, 0.5, 1.0, torch.float64)
    for t in range(5):
        meta_step(limit, data(t))
    expected, errors = limit(x).detach(), []
    for n in (100, 1600, 25600):
        squares = []
        for s in range(6):
            net = linear.reduced(linear.finite(n, D, K, 1.0, 0.5, 1.0, named("mup", 1), generator(s), torch.float64))
            for t in range(5):
                meta_step(net, data(t))
            squares.append((net(x) - expected).detach().square().mean().item())
        errors.append(np.sqrt(np.mean(squares)))
    assert errors[0] / errors[1] > 2.2 and errors[1] / errors[2] > 2.2  # 4 expected of 16 times the width
    # The untrained limit is 0 everywhere, so that all of this has been learned.
    assert errors[2] < 0.01 * expected.abs().max()


@pytest.mark.parametrize("name, c", [("mup", None), ("ntk", None), ("standard", 1), ("mean_field", None)])
@pytest.mark.parametrize("second_order", [False, True])
def test_it_is_the_multilayer_perceptron_of_one_linear_layer(name, c, second_order):
    """Two implementations with nothing in common but the weights: shortcuts against one parameter copy per episode."""
    abc = named(name, 1, c)
    net = linear.finite(6, D, K, 1.3, 0.7, 0.5, abc, generator(), torch.float64)
    other = mlp.finite(6, D, K, (1.3, 0.7), mlp.Factors(beta=0.5), abc, "linear", generator(), torch.float64)
    for t in range(3):
        torch.testing.assert_close(
            meta_step(net, data(t), second_order), meta_step(other, data(t), second_order), rtol=1e-9, atol=1e-10
        )


def test_gradient_is_what_backward_gives():
    net = linear.finite(6, D, K, 1.0, 0.7, 0.5, named("ntk", 1), generator(), torch.float64)
    x, y, _, _ = data()
    x, y = x[0], y[0]
    outputs = net(x)
    torch.nn.functional.cross_entropy(outputs, y).backward()
    update = net.gradient(x, cross_entropy_cotangent(outputs.detach(), y))
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(update[name], parameter.grad)


def test_decay_shrinks_before_the_step():
    net = linear.mu_limit(D, K, 1.0, 0.5, 1.0, torch.float64)
    x, cotangent = data()[0][0], torch.ones(5, K, dtype=torch.float64)
    update, before = net.gradient(x, cotangent), {k: v.clone() for k, v in net.state().items()}
    net.apply_update(update, rate=0.1, decay=0.5)
    for name, value in net.state().items():
        torch.testing.assert_close(value, (1 - 0.05) * before[name] - 0.1 * update[name])


def test_a_parametrization_of_another_depth_is_refused():
    with pytest.raises(ConfigError, match="one hidden layer"):
        linear.finite(4, D, K, 1, 1, 1, named("mup", 2), generator())


def test_the_state_of_another_model_is_refused():
    net = linear.mu_limit(D, K, 1.0, 0.5)
    with pytest.raises(CheckpointError, match="does not fit"):
        net.load_state(linear.mu_limit(D + 1, K, 1.0, 0.5).state())

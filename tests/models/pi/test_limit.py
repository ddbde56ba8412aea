"""The pi-limit against autograd, and finite pi-nets that approach it with their width."""

import math

import numpy as np
import pytest
import torch

from infwidth.gaussian import relu_v
from infwidth.models.mlp import Factors
from infwidth.models.pi import pi_limit, sampled
from infwidth.models.pi.growing import function_norm, sphere
from infwidth.tasks.losses import cross_entropy_cotangent

D, R, K = 7, 4, 3
FACTORS = Factors(1.3, 0.7, 0.4, 0.9, 0.5, 2.0, 0.6)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def limit(depth, seed=0, dtype=torch.float64, storage=None):
    net = pi_limit(D, K, R, depth, FACTORS, False, True, generator(seed), dtype, storage)
    with torch.no_grad():
        for b in net.b:
            b.normal_(generator=generator(seed + 1))
    return net


def batches(steps, size=5):
    g = generator(7)
    return [
        (torch.randn(size, D, generator=g, dtype=torch.float64), torch.randint(K, (size,), generator=g))
        for _ in range(steps)
    ]


def plain(net, x, A1, biases, rows):
    """The forward pass written down once more, for autograd: rows[l] is what A^l is multiplied with, m included."""
    c = net.factors
    g = c.alpha_1 * (x @ A1 + c.beta * biases[0])
    for l, layer in enumerate(net.layers, start=2):
        A, B, m = layer.joined()
        s = g.norm(dim=1, keepdim=True)
        g = s * (relu_v(g / s @ B.mT) * m) @ rows[l] + (c.beta if l <= net.depth else c.beta_readout) * biases[l - 1]
    return c.alpha_out * g


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("block", [3, 100])
def test_the_backward_pass_is_autograd_of_the_forward(depth, block, monkeypatch):
    """By A^1, by the biases, by the input of every layer; the appended rows are A's cotangents in function space.

    That is, sum_i V(q_i) s_i dg_i.
    """
    monkeypatch.setattr("infwidth.models.pi.rows.BLOCK", block)
    net = limit(depth)
    for x, y in batches(2):
        net.apply_update(net.gradient(x, cross_entropy_cotangent(net(x), y)), 0.3, 0.01)
    x, y = batches(3)[-1]
    A1, biases = net.A1.detach().clone().requires_grad_(), [b.detach().clone().requires_grad_() for b in net.b]
    rows = {l: layer.joined()[0].requires_grad_() for l, layer in enumerate(net.layers, start=2)}
    out = plain(net, x, A1, biases, rows)
    torch.testing.assert_close(net(x), out.detach())
    cotangent = cross_entropy_cotangent(out.detach(), y)
    out.backward(cotangent)
    update = net.gradient(x, cotangent)
    torch.testing.assert_close(update.first, A1.grad)
    for l, b in enumerate(biases, start=1):
        torch.testing.assert_close(update.biases[l], b.grad)
    for l, (dA, unit) in update.rows.items():
        _, B, m = net.layers[l - 2].joined()
        torch.testing.assert_close((relu_v(B @ unit.mT) * m[:, None]) @ dA, rows[l].grad)


def test_the_norm_of_rows_is_that_of_the_function_which_they_add():
    """E |f(z)|^2 over Gaussian neurons z of f = sum_i A_i relu(B_i . z)."""
    g = generator()
    A, B = torch.randn(6, K, generator=g, dtype=torch.float64), sphere(6, R, g, torch.float64)
    z = torch.randn(400_000, R, generator=g, dtype=torch.float64)
    assert abs((torch.relu(z @ B.mT) @ A).square().sum(1).mean().sqrt() / function_norm(A, B) - 1) < 0.01


@pytest.mark.parametrize("depth", [1, 2])
def test_pi_nets_approach_the_limit_with_their_width_at_every_step(depth):
    """Slope -1/2 of the rms over 16 draws of the neurons, at initialisation and after training."""
    widths, steps, probe = [64, 256, 1024, 4096], 4, torch.randn(6, D, generator=generator(3), dtype=torch.float64)

    def train(net, at):
        found = [net(probe).detach()]
        for x, y in batches(steps):
            net.apply_update(net.gradient(x, cross_entropy_cotangent(net(x).detach(), y)), 0.5, 0.01)
            found.append(net(probe).detach())
        return torch.stack(found)[at]

    at = [0, steps]
    expected = train(limit(depth), at)
    assert (expected[1] - expected[0]).abs().max() > 0.1
    errors = np.empty((len(widths), 16, 2))
    for i, n in enumerate(widths):
        for draw in range(16):
            net = sampled(limit(depth), n, generator(100 * draw + n))
            errors[i, draw] = (train(net, at) - expected).square().mean((1, 2))
    rms = np.sqrt(errors.mean(1))
    for t in range(2):
        slope = np.polyfit(np.log2(widths), np.log2(rms[:, t]), 1)[0]
        assert -0.65 < slope < -0.35, (at[t], slope)


def test_appending_moves_nothing_that_is_there_and_dropping_takes_it_back():
    layer = limit(1).layers[0]
    layer.block = 6
    before, place = layer.joined(), layer.blocks[0].A.data_ptr()
    g = generator(5)
    more = (
        torch.randn(17, K, generator=g, dtype=torch.float64),
        sphere(17, R, g, torch.float64),
        torch.rand(17, dtype=torch.float64, generator=g),
    )
    layer.append(*more)
    assert layer.blocks[0].A.data_ptr() == place and layer.rows == R + 17
    for old, new, both in zip(before, more, layer.joined(), strict=True):
        assert torch.equal(torch.cat([old, new]), both)
    layer.drop(17)
    assert all(torch.equal(a, b) for a, b in zip(before, layer.joined(), strict=True))


@pytest.mark.parametrize("storage, tolerance", [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
def test_arrays_stored_in_less_precision_give_nearly_the_same_outputs(storage, tolerance):
    wide, narrow = limit(2, dtype=torch.float32), limit(2, dtype=torch.float32, storage=storage)
    assert narrow.layers[0].blocks[0].A.dtype == storage and narrow.layers[0].blocks[0].m.dtype == torch.float32
    for x, y in batches(4):
        for net in (wide, narrow):
            net.apply_update(net.gradient(x.float(), cross_entropy_cotangent(net(x.float()), y)), 0.3)
    x = batches(5)[-1][0].float()
    assert 0 < (narrow(x) - wide(x)).norm() / wide(x).norm() < tolerance


def test_a_rank_of_the_inputs_dimension_starts_from_identities():
    net = pi_limit(R, K, R, 2, FACTORS, False, True, generator())
    assert torch.equal(net.A1.detach(), torch.eye(R)) and net.layers[1].rows == 1
    for array, at_start in zip(net.layers[0].joined(), (torch.eye(R), torch.eye(R), torch.ones(R)), strict=True):
        assert torch.equal(array, at_start)
    assert not net(torch.randn(3, R)).any()


def test_a_rank_beyond_the_width_projects_nothing():
    net = sampled(limit(2), 3, generator())
    assert not list(net.buffers()) and math.isfinite(net(torch.ones(1, D, dtype=torch.float64)).detach().sum())

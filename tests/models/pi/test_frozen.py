"""A pi-limit with a frozen readout is the limit of networks with a frozen readout: it neither moves nor decays."""

import numpy as np
import pytest
import torch

from infwidth.models.mlp import Factors
from infwidth.models.pi import pi_limit, sampled
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.training.clipping import clipped

D, R, K, STEPS = 7, 4, 3, 6
FACTORS = Factors(1.3, 0.7, 0.4, beta_readout=0.9, first=0.5, readout=0.0, bias=0.6)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def limit(depth):
    net = pi_limit(D, K, R, depth, FACTORS, False, False, generator(0), torch.float64)
    with torch.no_grad():
        for b in net.b:
            b.normal_(generator=generator(1))
    return net


def trained(net, by):
    """Outputs after steps of SGD with a decay that counts and clipping that bites."""
    g = generator(7)
    for _ in range(STEPS):
        x, y = torch.randn(5, D, generator=g, dtype=torch.float64), torch.randint(K, (5,), generator=g)
        update, _ = clipped(net.gradient(x, cross_entropy_cotangent(net(x).detach(), y)), 0.05, by)
        net.apply_update(update, 0.8, 0.2)
    return net(torch.randn(6, D, generator=g, dtype=torch.float64)).detach()


@pytest.mark.parametrize("depth, widths", [(1, (256, 1024, 4096)), (2, (64, 256, 1024))])
@pytest.mark.parametrize("by", ["parameter", "global"])
def test_networks_with_a_frozen_readout_approach_it(depth, widths, by):
    """Slope -1/2 of the rms over draws of the neurons: a readout that moved in one of them only would leave a rest."""
    expected, rms = trained(limit(depth), by), []
    for n in widths:
        nets = (sampled(limit(depth), n, generator(100 * draw + n)) for draw in range(16))
        rms.append(np.sqrt(np.mean([(trained(net, by) - expected).square().mean().item() for net in nets])))
    assert -0.65 < np.polyfit(np.log2(widths), np.log2(rms), 1)[0] < -0.35, rms
    assert rms[-1] < 0.04 * expected.abs().max(), rms


@pytest.mark.parametrize("by", ["parameter", "global"])
def test_nothing_of_it_moves(by):
    net = limit(2)
    *hidden, bias = (b.detach().clone() for b in net.b)
    before = net.layers[-1].joined()
    trained(net, by)
    assert torch.equal(net.b[-1].detach(), bias)
    assert all(torch.equal(old, new) for old, new in zip(before, net.layers[-1].joined(), strict=True))
    assert not any(torch.equal(old, new.detach()) for old, new in zip(hidden, net.b, strict=False))


def test_what_is_left_out_of_the_norm_takes_no_factor():
    net = limit(1)
    x, y = torch.randn(5, D, generator=generator(3), dtype=torch.float64), torch.arange(5) % K
    update = net.gradient(x, cross_entropy_cotangent(net(x).detach(), y))
    assert set(update.norms()) == {"A1", "b1"}
    small, _ = clipped(update, 1e-3, "parameter")
    assert small.factor("A1") < 1 and small.factor("b1") < 1
    assert small.factor("A2") == 1 == small.factor("b2")


def test_whether_the_readout_is_zero_is_looked_at_again_after_any_change():
    net, fresh = limit(1), pi_limit(D, K, R, 1, FACTORS, True, False, generator(0), torch.float64)
    assert not net._zero_readout() and fresh._zero_readout()
    start, layer = {name: t.clone() for name, t in fresh.state().items()}, fresh.layers[-1]
    layer.append(torch.ones(1, K), torch.ones(1, R) / R**0.5, torch.ones(1))
    assert not fresh._zero_readout()
    before = layer.multipliers()
    layer.decay(0.0)
    assert fresh._zero_readout()
    layer.go_back_to(before)
    assert not fresh._zero_readout()
    layer.drop(1)
    assert fresh._zero_readout()
    for rows in layer.blocks[0].used():
        rows[:] = 1.0
    assert not fresh._zero_readout()
    fresh.load_state(start)
    assert fresh._zero_readout()
    fresh.load_state(net.state())
    assert not fresh._zero_readout()

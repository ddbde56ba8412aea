"""SGD as a torch optimizer: what it does is linearized and apply_update, to the last digit that float64 leaves."""

import copy

import pytest
import torch

import infwidth as iw
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.training.clipping import clipped
from tests.api.data import examples
from tests.api.test_models import MAKE, made

KINDS = [*MAKE, "frozen pi_limit", "frozen pi_net"]


def of_kind(kind):
    if kind.startswith("frozen "):
        return made(kind.removeprefix("frozen "), readout_multiplier=0.0, beta_readout=0.3)
    return made(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "decay, clip, clip_by", [(0.0, None, "global"), (0.01, 0.1, "global"), (0.02, 0.05, "parameter")]
)
def test_backward_and_step_are_linearized_and_apply_update(kind, decay, clip, clip_by):
    net = of_kind(kind)
    other, optimizer = copy.deepcopy(net), iw.SGD(net, 0.3, decay=decay, clip=clip, clip_by=clip_by)
    for seed in range(4):
        x, y = examples(seed=seed)
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        outputs, pullback = other.linearized(x)
        update = pullback(cross_entropy_cotangent(outputs, y))
        if clip is not None:
            update, _ = clipped(update, clip, clip_by)
        other.apply_update(update, 0.3, decay)
    x, _ = examples(seed=9)
    torch.testing.assert_close(net(x), other(x), rtol=1e-10, atol=1e-12)
    assert (net(x) - of_kind(kind)(x)).abs().max() > 1e-3 or kind == "frozen pi_net"
    for name, value in net.state().items():
        torch.testing.assert_close(value, other.state()[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", MAKE)
def test_gradients_add_up_until_a_step_uses_them_and_can_be_forgotten(kind):
    whole, parts = made(kind), made(kind)
    x, y = examples()
    optimizer = iw.SGD(whole, 0.5)
    torch.nn.functional.cross_entropy(whole(x), y).backward()
    optimizer.step()
    optimizer = iw.SGD(parts, 0.5)
    torch.nn.functional.cross_entropy(parts(x[:2]), y[:2]).backward()
    optimizer.zero_grad()
    for some in (slice(0, 6), slice(6, 12)):
        (0.5 * torch.nn.functional.cross_entropy(parts(x[some]), y[some])).backward()
    optimizer.step()
    torch.testing.assert_close(parts(x), whole(x))
    with pytest.raises(iw.InfwidthError, match="there is no gradient to step along; call loss.backward"):
        optimizer.step()


@pytest.mark.parametrize("kind", ["finite", "pi_limit"])
def test_torchs_schedulers_change_the_rate(kind):
    net, other, (x, y) = made(kind), made(kind), examples()
    optimizer = iw.SGD(net, 0.8)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for rate in (0.8, 0.4):
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        scheduler.step()
        outputs, pullback = other.linearized(x)
        other.apply_update(pullback(cross_entropy_cotangent(outputs, y)), rate)
    torch.testing.assert_close(net(x), other(x))


def test_an_update_can_be_stepped_along_itself():
    net, other, (x, y) = made("pi_limit"), made("pi_limit"), examples()
    for optimizer in (iw.SGD(net, 0.8), iw.SGD(other, 0.8)):
        outputs, pullback = optimizer.model.linearized(x)
        optimizer.step(pullback(cross_entropy_cotangent(outputs, y)))
    assert torch.equal(net(x), other(x)) and net.layers[0].rows == 8 + 12


def test_gradients_by_inputs_move_nothing():
    net, (x, y) = made("pi_limit"), examples()
    optimizer = iw.SGD(net, 0.5)
    x.requires_grad_()
    torch.autograd.grad(torch.nn.functional.cross_entropy(net(x), y), x)
    with pytest.raises(iw.InfwidthError, match="no gradient"):
        optimizer.step()
    torch.nn.functional.cross_entropy(net(x), y).backward()
    assert x.grad.abs().max() > 0
    optimizer.step()


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: iw.SGD(torch.nn.Linear(2, 2), 0.1), "this is a Linear, .* use torch.optim.SGD for other networks"),
        (lambda: iw.SGD(iw.kernel_regression("nngp", *examples()), 0.1), "nothing for a fitted kernel"),
        (lambda: iw.SGD(made("finite"), 0), "rate is 0; it must be a number greater than 0."),
        (lambda: iw.SGD(made("finite"), float("nan")), "rate is nan"),
        (lambda: iw.SGD(made("finite"), 0.1, decay=-1), "decay is -1; it must be a number not below 0."),
        (lambda: iw.SGD(made("finite"), 0.1, clip=0), "clip is 0; it must be a number greater than 0."),
        (lambda: iw.SGD(made("finite"), 0.1, clip_by="layer"), "clip_by is 'layer'; choose one of: global, parameter."),
        (lambda: iw.SGD(made("finite"), 0.1).step(lambda: 1), "step was given a function; give it the update"),
    ],
)
def test_what_is_wrong_is_a_sentence(make, sentence):
    with pytest.raises(iw.InfwidthError, match=sentence):
        make()

"""A pi-limit is a torch module in every respect: it moves, is copied and is saved with all its rows."""

import copy

import pytest
import torch

from infwidth.errors import CheckpointError, ConfigError, InfwidthError
from infwidth.models.mlp import Factors
from infwidth.models.pi import pi_limit
from infwidth.models.pi.update import added
from infwidth.tasks.losses import cross_entropy_cotangent

D, R, K = 7, 4, 3
FACTORS = Factors(1.3, 0.7, 0.4, 0.9, 0.5, 2.0, 0.6)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def fresh(monkeypatch, seed=0, dtype=torch.float64, storage=None, depth=2):
    monkeypatch.setattr("infwidth.models.pi.rows.BLOCK", 6)
    return pi_limit(D, K, R, depth, FACTORS, False, True, generator(seed), dtype, storage)


def inputs(size=5, dtype=torch.float64, seed=7):
    return torch.randn(size, D, generator=generator(seed), dtype=dtype)


def train(net, steps=3, rate=0.3):
    for t in range(steps):
        x, y = inputs(dtype=net.A1.dtype, seed=t), torch.arange(5) % K
        outputs, pullback = net.linearized(x)
        net.apply_update(pullback(cross_entropy_cotangent(outputs, y)), rate, 0.01)
    return net


def test_a_state_dict_holds_the_whole_function(monkeypatch):
    net, other, x = train(fresh(monkeypatch)), fresh(monkeypatch, seed=1), inputs(20)
    state = net.state_dict()
    rows = sum((layer.outputs + layer.rank + 1) * layer.rows for layer in net.layers)
    assert sum(v.numel() for v in state.values()) == rows + sum(p.numel() for p in net.parameters())
    assert (other(x) - net(x)).abs().max() > 0.1
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert torch.equal(other(x), net(x))
    train(net)
    assert not torch.equal(other(x), net(x))  # rows that are loaded are the module's own
    assert torch.equal(train(other)(x), net(x))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("layers.0.B.1"), "layers.0.B.1"),
        (lambda state: [state.pop(k) for k in list(state) if k.startswith("layers.1.")], "layers.1.A.0"),
        (lambda state: state.update({"layers.0.C": torch.zeros(1)}), "layers.0.C"),
        (lambda state: state.update({"layers.0.A.0": state["layers.0.A.0"][:, :2]}), "shapes"),
        (lambda state: state.update({"layers.0.m.0": state["layers.0.m.0"][:2]}), "shapes"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(monkeypatch, change, message):
    net, x = train(fresh(monkeypatch)), inputs()
    state = {k: v.clone() for k, v in train(fresh(monkeypatch, seed=1)).state_dict().items()}
    change(state)
    before = net(x)
    with pytest.raises(CheckpointError, match=message):
        net.load_state(state)
    assert torch.equal(net(x), before)
    with pytest.raises(RuntimeError, match=message):
        net.load_state_dict(state)


def test_a_state_is_asked_for_block_by_block(monkeypatch):
    """So that a checkpoint can be read from its file as it is taken over, and the rows are held once."""
    net, asked = train(fresh(monkeypatch)), []

    class Reading(dict):
        def __getitem__(self, name):
            asked.append(name)
            return super().__getitem__(name)

    other = fresh(monkeypatch, seed=1)
    other.load_state(Reading(net.state()))
    assert len(asked) == len(set(asked)) == len(net.state()) and torch.equal(other(inputs()), net(inputs()))


def test_a_copy_is_independent_of_what_it_was_copied_from(monkeypatch):
    net = train(fresh(monkeypatch))
    other, x = copy.deepcopy(net), inputs()
    before = net(x)
    train(other)
    assert torch.equal(net(x), before) and not torch.equal(other(x), before)
    assert torch.equal(train(net)(x), other(x))


@pytest.mark.parametrize("storage", [None, torch.bfloat16])
def test_double_makes_all_of_it_double_but_what_is_stored_in_less(monkeypatch, storage):
    net = train(fresh(monkeypatch, dtype=torch.float32, storage=storage))
    x = inputs(dtype=torch.float32).double()
    before = net(x.float())
    assert net.double() is net
    for layer in net.layers:
        A, B, m = next(layer.tiles())
        assert A.dtype == B.dtype == (storage or torch.float64) and m.dtype == layer.dtype == torch.float64
    torch.testing.assert_close(net(x).float(), before, rtol=1e-4, atol=1e-5)
    assert train(net)(x).dtype == torch.float64
    torch.testing.assert_close(net.float()(x.float()), net.double()(x).float(), rtol=1e-4, atol=1e-5)


def test_a_type_too_narrow_to_sum_over_rows_is_refused_and_changes_nothing(monkeypatch):
    net = train(fresh(monkeypatch))
    before = net(inputs())
    for narrow in (net.half, net.bfloat16):
        with pytest.raises(ConfigError, match="computes in float32 or float64.*model.storage=bfloat16"):
            narrow()
    assert torch.equal(net(inputs()), before)


def test_all_of_it_moves(monkeypatch):
    """To another device; 'meta' is one that every machine has."""
    net = train(fresh(monkeypatch)).to("meta")
    assert {t.device.type for t in net.state_dict().values()} == {"meta"}
    update = net.gradient(inputs().to("meta"), torch.zeros(5, K, dtype=torch.float64, device="meta"))
    rows = [layer.rows for layer in net.layers]
    net.apply_update(update, 0.1, 0.01)
    assert net(inputs().to("meta")).device.type == "meta"
    assert [layer.rows for layer in net.layers] == [n + 5 for n in rows]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_outputs_are_differentiable_by_the_inputs(monkeypatch, depth):
    monkeypatch.setattr("infwidth.models.pi.limit.AT_ONCE", 2)
    net, x = train(fresh(monkeypatch, depth=depth)), inputs().requires_grad_()
    assert torch.autograd.gradcheck(net, x)
    outputs = net(x)
    outputs.sum().backward()
    assert x.grad.abs().min() > 0 and all(p.grad is None for p in net.parameters())
    outputs = net(x)
    train(net, steps=1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


def test_backward_says_what_to_call_instead(monkeypatch):
    net = fresh(monkeypatch)
    loss = torch.nn.functional.cross_entropy(net(inputs()), torch.arange(5) % K)
    with pytest.raises(
        InfwidthError, match=r"make an infwidth.SGD\(net, rate\) before it.*or take outputs, pullback ="
    ):
        loss.backward()


def test_what_backward_leaves_for_an_optimizer_is_the_update(monkeypatch):
    monkeypatch.setattr("infwidth.models.pi.limit.AT_ONCE", 2)
    net, y = train(fresh(monkeypatch)), torch.arange(5) % K
    net.received = []
    for seed in (1, 2):
        torch.nn.functional.cross_entropy(net(inputs(seed=seed)), y).backward()
    at_input = inputs().requires_grad_()
    torch.autograd.grad(net(at_input).sum(), at_input)  # asks for no gradient by parameters
    assert len(net.received) == 2 and all(p.grad is None for p in net.parameters())
    other, x = copy.deepcopy(net), torch.cat([inputs(seed=1), inputs(seed=2)])
    outputs, pullback = other.linearized(x)
    expected = pullback(2 * cross_entropy_cotangent(outputs, y.repeat(2)))
    update = added(net.received)
    for name, norm in update.norms().items():
        torch.testing.assert_close(norm, expected.norms()[name])
    net.apply_update(update, 0.3)
    other.apply_update(expected, 0.3)
    torch.testing.assert_close(net(inputs(20)), other(inputs(20)))


def test_a_pullback_serves_once(monkeypatch):
    net = train(fresh(monkeypatch))
    outputs, pullback = net.linearized(inputs())
    pullback(outputs)
    with pytest.raises(RuntimeError, match="call linearized again"):
        pullback(outputs)


def test_passes_of_one_size_use_the_same_memory(monkeypatch):
    """Two tiles of every block wait for the backward pass, and one more is worked in; rows that come need no others."""
    net = train(fresh(monkeypatch))
    layer, places = net.layers[0], []
    for _ in range(3):
        blocks = len(layer.blocks)
        train(net, steps=1)
        places.append({t.data_ptr() for t in layer.spare.free})
        assert len(places[-1]) == 2 * blocks + 1
    assert places[0] <= places[1] <= places[2]


def test_a_snapshot_of_another_models_past_is_refused(monkeypatch):
    net = train(fresh(monkeypatch))
    with pytest.raises(CheckpointError, match="a snapshot is of a model's own past"):
        fresh(monkeypatch).restore(net.snapshot())

"""Limits and networks from their sizes alone, and what is wrong in a sentence."""

import copy
import dataclasses
import inspect
import pickle

import numpy as np
import pytest
import torch

import infwidth as iw
from infwidth.models import linear, mlp
from infwidth.models.mu_limit import MuLimitConfig
from infwidth.models.pi_limit import PiLimitConfig
from infwidth.models.pi_net import PiNetConfig
from tests.api.data import examples

MAKE = {
    "finite": lambda **keys: iw.finite(5, 3, **{"width": 16, **keys}),
    "linear": lambda **keys: iw.finite(5, 3, **{"width": 16, "depth": 1, "activation": "linear", **keys}),
    "mu_limit": lambda **keys: iw.mu_limit(5, 3, **keys),
    "pi_limit": lambda **keys: iw.pi_limit(5, 3, **{"rank": 8, **keys}),
    "pi_net": lambda **keys: iw.pi_net(5, 3, **{"width": 16, "rank": 8, **keys}),
}


def made(kind, **keys):
    return MAKE[kind](dtype="float64", **keys)


@pytest.mark.parametrize("kind", MAKE)
def test_sizes_are_all_that_is_asked_for(kind):
    function = getattr(iw, "finite" if kind == "linear" else kind)
    required = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    assert required == ["inputs", "outputs"]
    net, (x, _) = MAKE[kind](), examples(dtype=torch.float32)
    assert net(x).shape == (12, 3) and net(x).dtype == torch.float32


@pytest.mark.parametrize("kind", MAKE)
def test_arrays_of_any_type_are_taken(kind):
    net, (x, _) = made(kind), examples()
    for given in (x.numpy(), x.numpy()[::-1][::-1], x.to(torch.float32).double().numpy().tolist()):
        torch.testing.assert_close(net(given), net(x), rtol=1e-5, atol=1e-6)
    assert net(np.ones((2, 5), dtype=np.uint8)).dtype == torch.float64
    fixed = x.numpy().copy()
    fixed.flags.writeable = False
    assert torch.equal(net(fixed), net(x))


@pytest.mark.parametrize(
    "function, config, other",
    [
        (iw.pi_limit, PiLimitConfig, {"rank"}),
        (iw.pi_net, PiNetConfig, {"rank", "width"}),
        (iw.mu_limit, MuLimitConfig, set()),
    ],
)
def test_arguments_are_the_keys_of_the_config_with_their_defaults(function, config, other):
    own = {"inputs", "outputs", "seed", "dtype"}
    found = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.name not in own | other}
    keys = {f.name: f.default for f in dataclasses.fields(config) if f.name not in other | {"name", "sampled_from"}}
    assert found == keys


def test_a_seed_decides_the_start():
    for kind in ("finite", "pi_limit", "pi_net"):
        x, _ = examples()
        assert torch.equal(made(kind, seed=3)(x), made(kind, seed=3)(x))
        assert not torch.equal(made(kind, seed=3)(x), made(kind, seed=4)(x))
        torch.manual_seed(5)
        first, second = made(kind, seed=None), made(kind, seed=None)
        assert not torch.equal(first(x), second(x))
        torch.manual_seed(5)
        assert torch.equal(made(kind, seed=None)(x), first(x))
        assert torch.equal(made(kind, seed=first.card.keys["seed"])(x), first(x))


def test_networks_are_those_of_the_models():
    x, _ = examples()
    mup = iw.abc("mup", depth=2)
    by_object = made("finite", parametrization=mup)
    by_exponents = made("finite", parametrization=(mup.a, mup.b, mup.c))
    assert torch.equal(by_object(x), made("finite")(x)) and torch.equal(by_exponents(x), made("finite")(x))
    assert isinstance(made("finite"), mlp.MLP) and isinstance(made("linear"), linear.LinearNet)
    assert made("linear").U.shape == (16, 5)
    assert (made("pi_net", rank=16)(x) - made("pi_net")(x)).abs().max() > 0
    assert not list(made("pi_net", rank=16).buffers()) and list(made("pi_net").buffers())


@pytest.mark.parametrize("kind, wide", [("mu_limit", 40_000), ("pi_limit", 4_000)])
def test_a_sample_approaches_its_limit_also_a_trained_one(kind, wide):
    limit, (x, y) = made(kind), examples()
    iw.fit(limit, x, y, epochs=3, batch=4, progress=False)
    scale = limit(x).abs().max()
    errors = [(iw.sample(limit, width, seed=1)(x) - limit(x)).abs().max() / scale for width in (wide // 100, wide)]
    assert errors[1] < 0.15 and errors[1] < errors[0] / 2
    assert not torch.equal(iw.sample(limit, 50, seed=1)(x), iw.sample(limit, 50, seed=2)(x))


@pytest.mark.parametrize("kind", MAKE)
def test_copies_are_whole(kind):
    net, (x, _) = made(kind), examples()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x.numpy()), net(x)) and other.card == net.card
    assert net.float()(x).dtype == torch.float32


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: iw.pi_limit(0, 3), "pi_limit.inputs is 0; it must be at least 1."),
        (lambda: iw.pi_limit(5, "three"), "pi_limit.outputs must be a whole number, not 'three'."),
        (lambda: iw.pi_limit(5, 3, rank=0), "pi_limit.rank is 0; it must be at least 1."),
        (lambda: iw.pi_limit(5, 3, activation="erf"), "phi has to be positively homogeneous"),
        (lambda: iw.pi_net(5, 3, activation="gelu"), "phi has to be positively homogeneous"),
        (lambda: iw.pi_limit(5, 3, dtype="float16"), "pi_limit.dtype is 'float16'; choose one of: float32, float64."),
        (lambda: iw.pi_limit(5, 3, seed=-1), "pi_limit.seed is -1; it must be at least 0."),
        (lambda: iw.mu_limit(5, 3, depth=2), "The limit that is computable there is model=pi_limit"),
        (lambda: iw.finite(5, 3, activation="tanh"), "finite.activation is 'tanh'; choose one of: linear, relu."),
        (lambda: iw.finite(5, 3, width=2.5), "finite.width must be a whole number, not 2.5."),
        (lambda: iw.finite(5, 3, parametrization="maximal"), "parametrization 'maximal' is not known"),
        (
            lambda: iw.finite(5, 3, depth=3, parametrization=iw.abc("mup", depth=2)),
            "is of 2 hidden layers, and .* has 3",
        ),
        (lambda: iw.sample(iw.finite(5, 3), 10), "a network is drawn from a limit, and this is a finite"),
        (lambda: iw.sample(iw.mu_limit(5, 3), 0), "width is 0; it must be a whole number, at least 1."),
        (lambda: iw.sample(torch.nn.Linear(2, 2), 3), "this Linear has no card"),
        (lambda: iw.pi_limit(5, 3)([["a"]]), "x is no array of numbers"),
    ],
)
def test_what_is_wrong_is_a_sentence(make, sentence):
    with pytest.raises(iw.InfwidthError, match=sentence):
        make()


def test_sizes_may_be_numpys():
    assert iw.pi_limit(np.int64(5), torch.tensor(3), rank=np.int32(4))(np.ones((1, 5))).shape == (1, 3)

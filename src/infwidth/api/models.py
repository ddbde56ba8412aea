"""Limits and finite networks, from their sizes and keyword arguments."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch

from infwidth.api.abc import Parametrization, resolved
from infwidth.api.arrays import inputs_as_tensors
from infwidth.api.card import Card, card_of
from infwidth.api.checks import whole
from infwidth.config import key, load
from infwidth.errors import ConfigError
from infwidth.models import linear
from infwidth.models.contract import Model
from infwidth.models.cost import Shape
from infwidth.models.finite import FiniteConfig
from infwidth.models.linear import LinearNet
from infwidth.models.mlp import MLP
from infwidth.models.mu_limit import MuLimitConfig
from infwidth.models.pi import PiLimit
from infwidth.models.pi import sampled as drawn_from_pi
from infwidth.models.pi_limit import PiLimitConfig
from infwidth.models.pi_net import PiNetConfig
from infwidth.seeding import stream

DataType = Literal["float32", "float64"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What every kind of model is asked for."""

    inputs: int = key(at_least=1)
    outputs: int = key(at_least=1)
    seed: int = key(at_least=0, default=0)
    dtype: DataType = "float32"

    @property
    def shape(self) -> Shape:
        return Shape(self.inputs, self.outputs)

    @property
    def generator(self) -> torch.Generator:
        return stream(self.seed, "model")

    @property
    def type(self) -> torch.dtype:
        return getattr(torch, self.dtype)


SIZES = tuple(field.name for field in fields(Sizes))


def finite(
    inputs: int,
    outputs: int,
    width: int = 512,
    depth: int = 2,
    *,
    parametrization: "str | Parametrization | Sequence" = "mup",
    activation: Literal["relu", "linear"] = "relu",
    sigma_u: float | None = None,
    sigma_hidden: float = math.sqrt(2),
    sigma_v: float = 1.0,
    alpha: float = 0.5,
    base_width: int | None = None,
    seed: int | None = 0,
    dtype: DataType = "float32",
) -> MLP | LinearNet:
    """A network of ``depth`` hidden layers of ``width`` neurons in an abc-parametrization (TP4 section 2).

    Inputs (n, inputs) to outputs (n, outputs). parametrization: a name, what :func:`infwidth.abc` gives, or exponents
    (a, b, c). sigma_u, sigma_hidden, sigma_v: standard deviations of w of the first layer, of those between and of the
    readout at n^{-b} = 1; sigma_u None: one over the root of the inputs. alpha: multiplier of the biases, 0 for none.
    base_width: the width at which the sigmas and the learning rate are meant and all parametrizations are the same;
    None: 1. seed None: drawn from torch's generator. With depth=1 and activation='linear' it is TP4's
    f(x) = V(Ux + alpha b).

    >>> import infwidth as iw, torch
    >>> iw.finite(inputs=4, outputs=3, width=64)(torch.ones(2, 4)).shape
    torch.Size([2, 3])
    """
    keys = _given(locals())
    abc = resolved(parametrization, depth)
    keys["parametrization"] = abc.name if isinstance(parametrization, str) else _exponents(abc)
    sizes = _sizes("finite", keys)
    own = {k: v for k, v in keys.items() if k != "parametrization"} | {"change_of_basis": False}
    if sigma_u is None:
        own["sigma_u"] = 1 / math.sqrt(sizes.inputs)
    config = _config("finite", FiniteConfig, own)
    config.check(abc)
    return _made("finite", keys, config.build(abc, sizes.shape, sizes.generator, sizes.type))


def mu_limit(
    inputs: int,
    outputs: int,
    *,
    depth: int = 1,
    activation: Literal["linear"] = "linear",
    sigma_u: float = 1.0,
    sigma_v: float = 0.03125,
    alpha: float = 1.0,
    dtype: DataType = "float32",
) -> LinearNet:
    """The infinite-width limit of μP for one linear hidden layer, exactly: f(x) = V(Ux + alpha b) (TP4 sections 5-6).

    Inputs (n, inputs) to outputs (n, outputs). sigma_u, sigma_v: standard deviations of U and V in balanced form; with
    sigma_v=0 it has half the coordinates. alpha: multiplier of the bias. There is nothing random in it. A deep or
    nonlinear μ-limit is refused: it is not finite-dimensional; :func:`infwidth.pi_limit` is what can be computed.

    >>> import infwidth as iw, torch
    >>> limit = iw.mu_limit(inputs=4, outputs=3)
    >>> limit.U.shape  # as many coordinates as there are inputs and outputs
    torch.Size([7, 4])
    """
    return _of_family("mu_limit", MuLimitConfig, _given(locals()))


def pi_limit(
    inputs: int,
    outputs: int,
    rank: int = 128,
    depth: int = 2,
    *,
    activation: Literal["relu"] = "relu",
    alpha_1: float = 1.0,
    alpha_out: float = 1.0,
    beta: float = 0.5,
    beta_readout: float | None = None,
    first_multiplier: float = 1.0,
    readout_multiplier: float = 1.0,
    bias_multiplier: float = 1.0,
    decay_follows_multipliers: bool = False,
    readout: Literal["gaussian", "zero"] = "gaussian",
    storage: Literal["float32", "bfloat16", "float16"] | None = None,
    landmarks: Literal["epoch"] | int | None = None,
    older_rows: float = 1.0,
    seed: int | None = 0,
    dtype: DataType = "float32",
) -> PiLimit:
    """The π-limit: the infinite-width limit of a deep ReLU network under projected SGD (PiLim section 3).

    Inputs (n, inputs) to outputs (n, outputs). rank: r, to how many random directions gradients are projected; depth:
    hidden layers. alpha_1, alpha_out, beta, beta_readout (None: as beta): multipliers of the first layer, of the
    outputs, of the biases and of the readout's. first_multiplier, readout_multiplier, bias_multiplier: of their
    learning rates; decay_follows_multipliers: of their decay too. readout: how it starts. storage: a narrower type to
    keep rows in.
    landmarks: None keeps a row of every example in every layer, as published; 'epoch' or a number projects older rows
    onto the newest, and drops them, once there are older_rows times as many.

    Training appends: after T steps of batch B each layer has rank + T B rows, and a step costs as much.

    >>> import infwidth as iw, torch
    >>> limit = iw.pi_limit(inputs=4, outputs=3, rank=8)
    >>> x, y = torch.eye(4), torch.tensor([0, 1, 2, 0])
    >>> optimizer = iw.SGD(limit, rate=0.5)
    >>> torch.nn.functional.cross_entropy(limit(x), y).backward()
    >>> optimizer.step()
    >>> [layer.rows for layer in limit.layers]
    [12, 12]
    """
    return _of_family("pi_limit", PiLimitConfig, _given(locals()))


def pi_net(
    inputs: int,
    outputs: int,
    width: int = 1024,
    rank: int = 128,
    depth: int = 2,
    *,
    activation: Literal["relu"] = "relu",
    alpha_1: float = 1.0,
    alpha_out: float = 1.0,
    beta: float = 0.5,
    beta_readout: float | None = None,
    first_multiplier: float = 1.0,
    readout_multiplier: float = 1.0,
    bias_multiplier: float = 1.0,
    decay_follows_multipliers: bool = False,
    readout: Literal["gaussian", "zero"] = "gaussian",
    seed: int | None = 0,
    dtype: DataType = "float32",
) -> MLP:
    """The finite network that :func:`infwidth.pi_limit` is the limit of: its hidden gradients are projected (PiLim).

    Inputs (n, inputs) to outputs (n, outputs); width: neurons of each of ``depth`` hidden layers. With a rank that is
    not below the width nothing is projected. The other arguments are those of the limit.

    >>> import infwidth as iw, torch
    >>> iw.pi_net(inputs=4, outputs=3, width=64, rank=8)(torch.ones(2, 4)).shape
    torch.Size([2, 3])
    """
    keys = _given(locals())
    config, sizes = _config("pi_net", PiNetConfig, keys), _sizes("pi_net", keys)
    config.check(config.own())
    generator = sizes.generator
    return _made("pi_net", keys, drawn_from_pi(config.limit(sizes.shape, generator, sizes.type), width, generator))


def sample(limit: Model, width: int, *, seed: int | None = 0) -> MLP | LinearNet:
    """A network of ``width`` neurons a layer drawn from a μ- or π-limit, as it is after any amount of training.

    Its function approaches the limit's as width^{-1/2} (TP4 section 6, PiLim section 3), and so it does if both go on
    training. Raises ConfigError for a model that is no limit.

    >>> import infwidth as iw, torch
    >>> limit = iw.mu_limit(inputs=4, outputs=3)
    >>> net = iw.sample(limit, width=100_000)
    >>> bool((net(torch.eye(4)) - limit(torch.eye(4))).abs().max() < 0.01)
    True
    """
    card, seed = card_of(limit), _seed(seed)
    whole("width", width)
    generator = stream(seed, "sample")
    if card.kind == "pi_limit":
        of_limits = ("storage", "landmarks", "older_rows")
        keys = {k: v for k, v in card.keys.items() if k not in of_limits} | {"width": width}
        return _made("pi_net", keys, drawn_from_pi(limit, width, generator))
    if card.kind == "mu_limit":
        same = ("inputs", "outputs", "depth", "activation", "alpha", "dtype")
        keys = {k: card.keys[k] for k in same} | {"width": width}
        return _made("finite", keys, linear.sampled(limit, width, generator))
    raise ConfigError(f"a network is drawn from a limit, and this is a {card.kind}; use a mu_limit or a pi_limit.")


KINDS = {function.__name__: function for function in (finite, mu_limit, pi_limit, pi_net)}
"""The functions that make a model from the keys of its card."""


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A function's arguments, by name, in types that a file has; what numpy or torch count with becomes a number."""
    found = {k: v.item() if hasattr(v, "item") else v for k, v in arguments.items()}
    if "seed" in found:
        found["seed"] = _seed(found["seed"])
    found["dtype"] = str(found["dtype"]).removeprefix("torch.")
    return found


def _seed(seed: int | None) -> int:
    return int(torch.randint(2**31, ())) if seed is None else seed


def _exponents(abc) -> list:
    return [[str(x) for x in abc.a], [str(x) for x in abc.b], str(abc.c)]


def _sizes(kind: str, keys: Mapping[str, Any]) -> Sizes:
    """ConfigError that names the key that is wrong, here and for the config."""
    return load(Sizes, {k: v for k, v in keys.items() if k in SIZES}, kind)


def _config(kind: str, family: type, keys: Mapping[str, Any]) -> Any:
    """The config of a family from the keys that are not sizes."""
    return load(family, {"name": kind, **{k: v for k, v in keys.items() if k not in SIZES}}, kind)


def _of_family(kind: str, family: type, keys: dict[str, Any]) -> Any:
    """A model of a family that has one parametrization."""
    config, sizes = _config(kind, family, keys), _sizes(kind, keys)
    abc = config.own()
    config.check(abc)
    return _made(kind, keys, config.build(abc, sizes.shape, sizes.generator, sizes.type))


def _made(kind: str, keys: Mapping[str, Any], model: Any) -> Any:
    """A model with its card, that takes arrays too."""
    model.card = Card(kind, dict(keys))
    model.register_forward_pre_hook(inputs_as_tensors)
    return model

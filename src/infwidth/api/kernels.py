"""The NNGP and NTK kernels of wide networks as functions of two arrays, and regression with them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from infwidth.api.arrays import ArrayLike, Labels, inputs_as_tensors, labels, like_given, matrix
from infwidth.api.card import Card
from infwidth.api.checks import one_of
from infwidth.config import load
from infwidth.errors import DataError
from infwidth.models.kernel import KernelRegression
from infwidth.models.kernel.config import REGULARISER, KernelConfig
from infwidth.progress import Bars

Activation = Literal["relu", "linear", "erf", "gelu"]
KernelName = Literal["nngp", "ntk"]


def nngp(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    depth: int = 2,
    activation: Activation = "relu",
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
) -> Any:
    """The NNGP kernel (n, m) of inputs x (n, d) and y (m, d), x where it is None: E phi phi of the last hidden layer.

    That is the covariance of the features of a network of ``depth`` hidden layers as it starts, in the limit of
    infinite width, with weights N(0, sigma_w^2 / fan-in) and biases N(0, sigma_b^2) (PiLim section 4; the V-transforms
    are in :mod:`infwidth.gaussian`). A tensor for a tensor x, else a numpy array, in float64 if x is.

    >>> import infwidth as iw, numpy as np
    >>> x = np.eye(3)
    >>> np.round(iw.nngp(x, depth=1, sigma_w=np.sqrt(3)), 4)  # E relu relu of variances 1, covariances 0
    array([[0.5   , 0.1592, 0.1592],
           [0.1592, 0.5   , 0.1592],
           [0.1592, 0.1592, 0.5   ]])
    """
    return _matrix(_config("nngp", depth=depth, activation=activation, sigma_w=sigma_w, sigma_b=sigma_b), x, y)


def ntk(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    depth: int = 2,
    activation: Activation = "relu",
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    weight_rates: Sequence[float] | None = None,
    bias_rates: Sequence[float] | None = None,
) -> Any:
    """The neural tangent kernel (n, m) of inputs x (n, d) and y (m, d), x where it is None (PiLim section 4).

    As :func:`nngp`, for training all layers. weight_rates, bias_rates: multipliers of the learning rate of the weights
    and the biases of every layer, the readout last; None: ones. With sigma_b=0 biases start at zero, and are trained
    unless bias_rates are zero.

    >>> import infwidth as iw, torch
    >>> x = torch.eye(2, dtype=torch.float64)
    >>> iw.ntk(x, depth=1, activation="linear", bias_rates=[0, 0]).round(decimals=9)  # x.x'/d by each of two layers
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)
    """
    keys = {"depth": depth, "activation": activation, "sigma_w": sigma_w, "sigma_b": sigma_b}
    return _matrix(_config("ntk", **keys, weight_rates=weight_rates, bias_rates=bias_rates), x, y)


def kernel_regression(
    kernel: KernelName,
    x: ArrayLike,
    y: Labels,
    regulariser: float | Sequence[float] = REGULARISER,
    *,
    depth: int = 2,
    activation: Activation = "relu",
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    weight_rates: Sequence[float] | None = None,
    bias_rates: Sequence[float] | None = None,
    progress: bool = False,
) -> KernelRegression:
    """Ridge regression with a kernel: the function (n, d) -> (n, k) of a network at the end of training by its kernel.

    x (n, d); y: class labels (n,), for which the targets are one-hot vectors minus 1/2, or numbers (n, k). regulariser:
    what is added to the kernel's diagonal; of several the best on a tenth of the examples, which is held out, is taken.
    kernel: 'nngp' for a readout that is trained on fixed features, 'ntk' for all layers; the other arguments are those
    of :func:`nngp` and :func:`ntk`. It takes one (n, n) matrix of memory and is a torch module (PiLim section 4).

    >>> import infwidth as iw, numpy as np
    >>> x = np.linspace(-1, 1, 30)[:, None]
    >>> model = iw.kernel_regression("ntk", x, np.abs(x), regulariser=1e-6)
    >>> model(np.array([[0.31], [-0.5]])).round(decimals=2)
    tensor([[0.3100],
            [0.5000]], dtype=torch.float64)
    """
    one_of("kernel", kernel, ("nngp", "ntk"))
    examples = matrix(x, "x")
    wanted = labels(y, "y", len(examples), None, examples)
    given = [regulariser] if isinstance(regulariser, (int, float)) else list(regulariser)
    if wanted.dim() == 2 and len(given) > 1:
        raise DataError("several regularisers are chosen between by accuracy, and y has numbers; give one regulariser.")
    keys = {"kernel": kernel, "regularisers": given, "depth": depth, "activation": activation}
    keys |= {"sigma_w": sigma_w, "sigma_b": sigma_b, "weight_rates": weight_rates, "bias_rates": bias_rates}
    keys |= {"inputs": examples.shape[1], "dtype": str(examples.dtype).removeprefix("torch.")}
    keys["outputs"] = wanted.shape[1] if wanted.dim() == 2 else int(wanted.max()) + 1
    model = unfitted(**keys).to(examples.device)
    found = model.fit(examples, wanted, Bars(quiet=not progress))
    model.card = replace(model.card, numbers=found)
    return model


def unfitted(kernel: KernelName, inputs: int, outputs: int, dtype: str, **keys: Any) -> KernelRegression:
    """What :func:`kernel_regression` fits, from the keys of its card."""
    config = _config(kernel, **keys)
    model = KernelRegression(config.deep_kernel(), config.regularisers, None, inputs, outputs, getattr(torch, dtype))
    model.card = Card(
        "kernel_regression", {"kernel": kernel, "inputs": inputs, "outputs": outputs, "dtype": dtype, **keys}
    )
    model.register_forward_pre_hook(inputs_as_tensors)
    return model


def _config(name: str, **keys: Any) -> KernelConfig:
    """The config of a kernel in PiLim's conventions. ConfigError that names the key that is wrong."""
    plain = {k: v.item() if hasattr(v, "item") else v for k, v in keys.items()}
    config = load(KernelConfig, {"name": f"{name}_limit", "convention": "pilim", **plain}, name)
    config.check(config.own())
    return config


def _matrix(config: KernelConfig, x: ArrayLike, y: ArrayLike | None) -> Any:
    rows = matrix(x, "x")
    columns = rows if y is None else matrix(y, "y", rows)
    if columns.shape[1] != rows.shape[1]:
        raise DataError(
            f"x has {rows.shape[1]} numbers for each example and y {columns.shape[1]}; a kernel is of inputs alike."
        )
    return like_given(config.deep_kernel()(rows, columns), x)

"""Kernels of two arrays, and regression with them."""

import numpy as np
import pytest
import torch

import infwidth as iw
from infwidth.models.kernel import DeepKernel, GeneralKernel
from tests.api.data import digits, examples

ACTIVATIONS = ["relu", "linear", "erf", "gelu"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_they_are_the_models_kernels(activation):
    x, y = examples()[0], examples(7, seed=1)[0]
    make = (lambda *a: DeepKernel(*a)) if activation == "relu" else (lambda *a: GeneralKernel(activation, *a))
    settings = {"depth": 3, "activation": activation, "sigma_w": 1.5, "sigma_b": 0.3}
    assert torch.equal(iw.nngp(x, y, **settings), make(3, 1.5**2, 0.3**2)(x, y))
    assert torch.equal(iw.ntk(x, y, **settings), make(3, 1.5**2, 0.3**2, True)(x, y))
    assert torch.equal(iw.nngp(x, **settings), iw.nngp(x, x, **settings))


def test_rates_are_those_of_the_layers():
    x, _ = examples()
    frozen = iw.ntk(x, depth=1, weight_rates=[0, 1], bias_rates=[0, 0])
    torch.testing.assert_close(frozen, iw.nngp(x, depth=1))


def test_what_comes_back_is_of_the_kind_that_was_given():
    x, _ = examples()
    for found, dtype in ((iw.nngp(x.numpy()), np.float64), (iw.ntk(x.numpy().astype(np.float32)), np.float32)):
        assert isinstance(found, np.ndarray) and found.dtype == dtype
    np.testing.assert_array_equal(iw.nngp(x.numpy()), iw.nngp(x).numpy())
    assert iw.nngp([[1, 2], [3, 4]]).shape == (2, 2)


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_regression_is_the_closed_form(kernel, activation):
    (x, y), (test, _) = examples(40), examples(9, seed=1)
    model = iw.kernel_regression(kernel, x.numpy(), y.numpy(), 1e-3, depth=1, activation=activation, sigma_b=0.5)
    K = getattr(iw, kernel)(torch.cat([x, test]), depth=1, activation=activation, sigma_b=0.5)
    wanted = torch.nn.functional.one_hot(y).double() - 0.5
    expected = K[40:, :40] @ torch.linalg.solve(K[:40, :40] + 1e-3 * torch.eye(40), wanted)
    torch.testing.assert_close(model(test), expected)
    numbers = iw.kernel_regression(kernel, x, wanted, 1e-3, depth=1, activation=activation, sigma_b=0.5)
    torch.testing.assert_close(numbers(test.numpy()), expected)


def test_digits_and_a_regulariser_that_is_chosen():
    (x, y), test = digits()
    model = iw.kernel_regression("ntk", x, y, [1e-4, 1e4], activation="gelu")
    assert iw.accuracy(model, *test) > 98 and model.card.numbers["regulariser"] == 1e-4
    assert iw.accuracy(iw.kernel_regression("nngp", x, y, activation="linear"), *test) < 96


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda x, y: iw.nngp(x, activation="tanh"),
            "nngp.activation is 'tanh'; choose one of: linear, relu, erf, gelu.",
        ),
        (lambda x, y: iw.ntk(x, depth=0), "ntk.depth is 0; it must be at least 1."),
        (lambda x, y: iw.ntk(x, sigma_w=0), "ntk.sigma_w is 0.0; it must be greater than 0."),
        (lambda x, y: iw.ntk(x, weight_rates=[1]), "weight_rates has 1 multipliers; model.depth=2 has 3 layers"),
        (lambda x, y: iw.nngp(x, x[:, :2]), "x has 5 numbers for each example and y 2"),
        (lambda x, y: iw.nngp(x[0]), r"x has the shape \(5,\)"),
        (lambda x, y: iw.kernel_regression("rbf", x, y), "kernel is 'rbf'; choose one of: nngp, ntk."),
        (lambda x, y: iw.kernel_regression("ntk", x, y[:3]), "y has 3 entries for 12 examples"),
        (lambda x, y: iw.kernel_regression("ntk", x, y, 0.0), r"ntk.regularisers is 0.0; it must be greater than 0"),
        (lambda x, y: iw.kernel_regression("ntk", x, x, [1, 2]), "y has numbers; give one regulariser."),
        (lambda x, y: iw.kernel_regression("ntk", torch.ones(12, 5), y, 1e-30), "is not positive definite in float32"),
    ],
)
def test_what_is_wrong_is_a_sentence(make, sentence):
    with pytest.raises(iw.InfwidthError, match=sentence):
        make(*examples())

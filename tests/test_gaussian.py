"""V-transforms against recorded values, sampling, and their derivatives at the ends."""

import math

import numpy as np
import pytest
import torch

from infwidth.gaussian import EXPECTATIONS, TWO_PI, relu_v, relu_v_step_v_root, step_v
from tests.conftest import golden_files, load_golden


@pytest.mark.parametrize("path", golden_files("pilim/vtransforms.npz"))
def test_recorded_values(path):
    z = load_golden(path)
    c, s1, s2 = (torch.from_numpy(np.asarray(z[k])) for k in ("c", "s1", "s2"))
    # Beyond -1 the recorded program clamps just inside the end and gives 2e-10, where V(-1) is 0.
    np.testing.assert_allclose(s1 * s2 * relu_v(c), z["F00"], rtol=1e-7, atol=5e-10)
    np.testing.assert_allclose(step_v(c), z["F11"], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(2 * step_v(c), z["J0"], rtol=1e-7, atol=1e-10)


def test_both_at_once_agree_with_each():
    c = torch.linspace(-1, 1, 101, dtype=torch.float64)
    value, derivative, root = relu_v_step_v_root(c)
    torch.testing.assert_close(value / TWO_PI, relu_v(c))
    torch.testing.assert_close(derivative / TWO_PI, step_v(c))
    torch.testing.assert_close(root, (1 - c**2).clamp(min=0).sqrt())
    torch.testing.assert_close(value - c * derivative, root)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_near_one_the_root_and_the_arccos_cancel(dtype):
    """V(1 - d) = 1/2 - d/2 + O(d^1.5), to the precision of 1/2, not of its square root."""
    d = torch.finfo(dtype).eps * torch.tensor([0.0, 0.5, 1, 2, 8, 64], dtype=dtype)
    torch.testing.assert_close(relu_v(1 - d), 0.5 - d / 2, rtol=4 * torch.finfo(dtype).eps, atol=0)


def test_sampling_agrees():
    g = torch.Generator().manual_seed(0)
    z1, z2 = torch.randn(2, 400_000, generator=g, dtype=torch.float64)
    for c in (-0.9, -0.3, 0.0, 0.5, 0.99):
        w = c * z1 + math.sqrt(1 - c * c) * z2
        t = torch.tensor(c, dtype=torch.float64)
        assert abs((z1.relu() * w.relu()).mean() - relu_v(t)) < 5e-3
        assert abs(((z1 > 0) & (w > 0)).double().mean() - step_v(t)) < 5e-3


def test_the_derivative_is_v_prime_and_finite_at_the_ends():
    c = torch.tensor([-1.0, -0.999, 0.2, 1.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(relu_v(c).sum(), c)
    torch.testing.assert_close(gradient, step_v(c.detach()))
    inside = torch.tensor([-0.7, 0.1, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(relu_v, inside)


def derivatives(of, c, number):
    """of(c) and its derivatives by c, one after another."""
    found = [of(c)]
    for _ in range(number):
        found.append(*torch.autograd.grad(found[-1].sum(), c, create_graph=True))
    return [f.detach() for f in found]


def test_the_second_derivative_is_that_of_the_formula():
    c = torch.tensor([-0.95, -0.3, 0.0, 0.7, 0.999], dtype=torch.float64, requires_grad=True)
    _, first, second, third = derivatives(relu_v, c, 3)
    x = c.detach()
    torch.testing.assert_close(first, step_v(x))
    torch.testing.assert_close(second, 1 / (TWO_PI * (1 - x**2).sqrt()))
    torch.testing.assert_close(third, x / (TWO_PI * (1 - x**2) ** 1.5))
    torch.testing.assert_close(derivatives(step_v, c, 1)[1], second)
    inside = torch.tensor([-0.7, 0.1, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(relu_v, inside)


def test_second_derivatives_are_finite_at_the_ends_and_right_by_the_angle():
    """By c it is taken to be 0 there, which is what is left of it by an angle: d2/dt2 V(cos t) = -1/2 at t = 0."""
    c = torch.tensor([-1.0, 1.0, -1 - 1e-9, 1 + 1e-9], dtype=torch.float64, requires_grad=True)
    assert not derivatives(relu_v, c, 2)[2].any()
    angle = torch.tensor([0.0, 1e-5, math.pi], dtype=torch.float64, requires_grad=True)
    second = derivatives(lambda t: relu_v(torch.cos(t)), angle, 2)[2]
    torch.testing.assert_close(second, torch.tensor([-0.5, -0.5, 0.0], dtype=torch.float64), rtol=0, atol=1e-5)


def test_rounding_beyond_one_is_clamped():
    c = torch.tensor([1 + 1e-12, -1 - 1e-12], dtype=torch.float64)
    torch.testing.assert_close(relu_v(c), torch.tensor([0.5, 0.0], dtype=torch.float64))


def gelu(z):
    return torch.nn.functional.gelu(z)


def gelu_derivative(z):
    normal = torch.distributions.Normal(torch.zeros((), dtype=z.dtype), 1)
    return normal.cdf(z) + z * normal.log_prob(z).exp()


FUNCTIONS = {
    "linear": (lambda z: z, torch.ones_like),
    "erf": (torch.erf, lambda z: 2 / math.sqrt(math.pi) * torch.exp(-(z**2))),
    "gelu": (gelu, gelu_derivative),
}


def quadrature(f, c, u, v, nodes=120):
    """E f(z1) f(z2) for covariance c and variances u, v, by Gauss and Hermite."""
    points, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(nodes))
    weights = weights / weights.sum()
    e1, e2 = torch.meshgrid(points, points, indexing="ij")
    z1 = math.sqrt(u) * e1
    z2 = c / math.sqrt(u) * e1 + math.sqrt(max(v - c * c / u, 0)) * e2
    return (weights[:, None] * weights * f(z1) * f(z2)).sum()


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_closed_forms_agree_with_quadrature(name):
    for u, v in ((1.0, 1.0), (0.3, 2.0), (1.7, 0.01), (0.5, 0.5)):
        for correlation in (-1.0, -0.9, -0.2, 0.0, 0.4, 0.99, 1.0):
            c = correlation * math.sqrt(u * v)
            found = EXPECTATIONS[name](*(torch.tensor(t, dtype=torch.float64) for t in (c, u, v)))
            for value, f in zip(found, FUNCTIONS[name], strict=True):
                torch.testing.assert_close(value, quadrature(f, c, u, v), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_the_second_expectation_is_the_firsts_derivative(name):
    c = torch.tensor([-0.5, 0.0, 0.3, 0.6], dtype=torch.float64, requires_grad=True)
    u, v = torch.tensor([[0.7], [2.0]], dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64)
    value, derivative = EXPECTATIONS[name](c.expand(2, 4), u, v)
    (gradient,) = torch.autograd.grad(value.sum(), c)
    torch.testing.assert_close(gradient, derivative.sum(0))


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_inputs_that_are_zero_or_alike_have_finite_expectations(name):
    u = torch.tensor([0.0, 1e-30, 1.0, 1e10])
    for c in (torch.zeros(4), u, -u):
        assert all(torch.isfinite(found).all() for found in EXPECTATIONS[name](c, u, u))

"""Blocked regression in place against plain linear algebra."""

import pytest
import torch

from infwidth import ridge
from infwidth.errors import ConfigError


def problem(n=37, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 50, generator=g, dtype=torch.float64)
    # One triangle is a copy of the other: not every CPU computes a product symmetric to the last digit.
    K = (X @ X.mT / 50).tril()
    return (K + K.tril(-1).mT).to(dtype), torch.randn(n, 3, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("block", [1, 5, 8, 37, 100])
def test_solution(block):
    K, Y = problem()
    work = ridge.matrix(lambda r, c: K[r, c].clone(), len(K), K, block)
    assert torch.equal(work, K)
    diagonal = ridge.factorise(work, 1e-3, block)
    torch.testing.assert_close(work.tril(), torch.linalg.cholesky(K + 1e-3 * torch.eye(len(K))))
    assert torch.equal(work.triu(1), K.triu(1)) and torch.equal(diagonal, K.diagonal())
    torch.testing.assert_close(ridge.product(work, diagonal, Y, block), K @ Y)
    torch.testing.assert_close(
        ridge.solve(work, diagonal, 1e-3, Y, 0, block), torch.linalg.solve(K + 1e-3 * torch.eye(len(K)), Y)
    )


def test_refinement_makes_float32_as_good_as_float64():
    K, Y = problem(dtype=torch.float32)
    exact = torch.linalg.solve(K.double() + 1e-4 * torch.eye(len(K)), Y)
    errors = []
    for refinements in (0, 3):
        work = K.clone()
        diagonal = ridge.factorise(work, 1e-4, 8)
        errors.append((ridge.solve(work, diagonal, 1e-4, Y, refinements, 8) - exact).norm() / exact.norm())
    assert errors[1] < 1e-9 < errors[0]


def test_an_indefinite_matrix_is_named():
    K, _ = problem()
    with pytest.raises(
        ConfigError,
        match=r"regulariser 0.0001 is not positive definite in float64 .row \d+ of 37.; raise the regulariser",
    ):
        ridge.factorise(K - 2 * torch.eye(37), 1e-4, 8)


def test_regression_on_a_kernel_is_dense_algebra_and_holds_no_more_than_a_tile_beside_the_matrix(monkeypatch):
    monkeypatch.setattr(ridge, "TILE", 8)
    g = torch.Generator().manual_seed(0)
    train, test = (torch.randn(n, 6, generator=g, dtype=torch.float64) for n in (37, 21))
    labels, asked = torch.randint(3, (37,), generator=g), []

    def kernel(rows, columns):
        asked.append((len(rows), len(columns)))
        return (rows @ columns.mT).div_(6).exp_()

    found = ridge.classify(kernel, train, labels, test, 3, 1e-3)
    assert max(max(sizes) for sizes in asked) == 8
    K, targets = kernel(train, train), torch.nn.functional.one_hot(labels, 3).double() - 0.5
    expected = kernel(test, train) @ torch.linalg.solve(K + 1e-3 * torch.eye(37), targets)
    torch.testing.assert_close(found, expected)

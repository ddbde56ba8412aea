"""Projections of rows onto landmarks, against the dense formulas in float64."""

import math
import weakref

import pytest
import torch

from infwidth.gaussian import relu_v
from infwidth.models.pi import landmarks
from infwidth.models.pi.growing import GrowingLayer, sphere, unit_rows
from infwidth.models.pi.landmarks import RIDGE, projected

R, K, P, N = 5, 3, 11, 17


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n, seed, dtype=torch.float64):
    """Coefficients (n, K) and unit rows (n, R)."""
    g = generator(seed)
    return torch.randn(n, K, generator=g, dtype=torch.float64).to(dtype), sphere(n, R, g, torch.float64).to(dtype)


def layer_of(c, B, storage=None, dtype=torch.float64, block=4):
    return GrowingLayer(c, B, torch.ones(len(c), dtype=dtype), dtype, storage, block)


def values(g, c, B):
    """sum_i c_i |g| V(g.B_i / |g|), written down once more, so that it can be differentiated."""
    s = g.norm(dim=1, keepdim=True)
    q = g / s @ B.mT
    return s * (((1 - q * q).sqrt() + q * (math.pi - q.acos())) / (2 * math.pi)) @ c


@pytest.fixture(params=[3, 1000])
def tile(request, monkeypatch):
    monkeypatch.setattr(landmarks, "TILE", request.param)


def test_the_projection_is_the_dense_solution_and_its_error_the_dense_error(tile):
    (c, B), (_, Z) = rows(N, 1), rows(P, 2)
    found, eps = projected(Z, B, c), RIDGE / 2
    V_ZZ, V_ZB, V_BB = (relu_v(a @ b.mT) for a, b in ((Z, Z), (Z, B), (B, B)))
    expected = torch.linalg.solve(V_ZZ + eps * torch.eye(P), V_ZB @ c)
    torch.testing.assert_close(found.coefficients, expected)
    # The norm of the difference, without the formula that the solution simplifies it to.
    difference = c.mT @ V_BB @ c - 2 * expected.mT @ V_ZB @ c + expected.mT @ V_ZZ @ expected
    error = difference.trace().sqrt().item()
    spectral = torch.linalg.eigvalsh((difference + difference.mT) / 2)[-1].sqrt().item()
    assert found.error == pytest.approx(error, rel=1e-6) and found.spectral_error == pytest.approx(spectral, rel=1e-6)
    assert found.norm == pytest.approx((c.mT @ V_BB @ c).trace().sqrt().item()) and found.ridge == RIDGE
    assert 0.05 * found.norm < spectral < error < found.norm


def test_nothing_nearer_is_there():
    """The projection minimises error^2 + eps |P|^2 over all coefficients of the landmarks."""
    (c, B), (_, Z) = rows(N, 1), rows(P, 2)
    found = projected(Z, B, c)

    def cost(coefficients):
        all_rows = torch.cat([B, Z]), torch.cat([c, -coefficients])
        return landmarks.gram(*all_rows).trace() + RIDGE / 2 * coefficients.square().sum()

    least = cost(found.coefficients)
    for seed in range(20):
        step = 1e-3 * torch.randn(P, K, generator=generator(seed), dtype=torch.float64)
        assert cost(found.coefficients + step) > least


@pytest.mark.parametrize("size", [0.1, 1.0, 30.0])
def test_the_errors_bound_the_outputs_and_the_jacobian(size):
    (c, B), (_, Z) = rows(N, 1), rows(P, 2)
    found = projected(Z, B, c)
    g = size * torch.randn(300, R, generator=generator(4), dtype=torch.float64)

    def change(g):
        return values(g, found.coefficients, Z) - values(g, c, B)

    reach = g.norm(dim=1) / 2**0.5
    moved = change(g).norm(dim=1) / reach
    jacobians = torch.func.vmap(torch.func.jacrev(lambda x: change(x[None])[0]))(g)
    turned = torch.linalg.matrix_norm(jacobians, 2) * 2**0.5
    for ratio in (moved, turned):
        assert 0.05 * found.spectral_error < ratio.max() <= found.spectral_error <= found.error


def test_onto_all_rows_it_is_exact(tile):
    c, B = rows(N, 1)
    order = torch.randperm(N, generator=generator(3))
    found = projected(B[order], B, c, share=1e-13)
    torch.testing.assert_close(found.coefficients, c[order], rtol=1e-7, atol=1e-9)
    assert found.error < 1e-5 * found.norm


def test_the_ridge_is_raised_until_there_is_a_factor_and_that_is_recorded():
    c, B = rows(N, 1, torch.float32)
    twice = torch.cat([B, B])
    assert projected(twice, B, c).ridge == RIDGE
    found = projected(twice, B, c, share=1e-12)
    assert 1e-12 < found.ridge <= 1e-4 and found.ridge == pytest.approx(
        10 ** round(torch.tensor(found.ridge).log10().item())
    )
    g = torch.randn(50, R, generator=generator(4))
    exact = values(g, c, B)
    assert (values(g, found.coefficients.float(), twice) - exact).norm() < 1e-2 * exact.norm()


def test_a_kernel_matrix_that_has_no_factor_is_given_up_before_another_is_built(monkeypatch):
    c, B = rows(N, 1, torch.float32)
    built, matrix = [], landmarks.ridge.matrix

    def watched(*arguments):
        assert not any(earlier() is not None for earlier in built)
        K = matrix(*arguments)
        built.append(weakref.ref(K))
        return K

    monkeypatch.setattr(landmarks.ridge, "matrix", watched)
    projected(torch.cat([B, B]), B, c, share=1e-12)
    assert len(built) > 1


def test_a_layer_absorbs_a_part_of_its_rows():
    """The first rows stay as they are; the newest have m = 1 and the coefficients added; nothing else is there."""
    c, B = rows(N, 1)
    layer = layer_of(c, B)
    layer.decay(0.5)
    extra = torch.randn(5, K, generator=generator(5), dtype=torch.float64)
    before = layer.joined()
    layer.absorb(3, 12, extra)
    A, unit, m = layer.joined()
    assert layer.rows == 8 and [len(a) for a, _, _ in layer.tiles()] == [4, 4]
    for now, then in zip((A, unit, m), before, strict=True):
        assert torch.equal(now[:3], then[:3])
    assert torch.equal(unit[3:], B[12:]) and torch.equal(m[3:], torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(A[3:], 0.5 * c[12:] + extra)


@pytest.mark.parametrize("start, stop", [(0, 4), (2, 3), (3, 9), (4, 8), (8, 17), (5, 5)])
def test_a_part_of_the_rows_across_blocks(start, stop):
    c, B = rows(N, 1)
    A, unit, m = layer_of(c, B).part(start, stop)
    assert torch.equal(A, c[start:stop]) and torch.equal(unit, B[start:stop]) and len(m) == stop - start


def test_a_decay_of_the_layer_commutes_with_the_projection():
    first, then = (layer_of(*rows(N, 1)) for _ in range(2))
    g = torch.randn(20, R, generator=generator(4), dtype=torch.float64)

    def project(layer):
        A, B, m = layer.part(3, 9)
        found = projected(layer.part(9, N)[1], B, A * m[:, None])
        layer.absorb(3, 9, found.coefficients)
        return found

    first.decay(0.7)
    smaller = project(first)
    larger = project(then)
    then.decay(0.7)
    unit, s = unit_rows(g)
    torch.testing.assert_close(first.forward(unit, s)[0], then.forward(unit, s)[0])
    assert smaller.error == pytest.approx(0.7 * larger.error, rel=1e-6)


@pytest.mark.parametrize(
    "storage, dtype, tolerance",
    [
        (None, torch.float32, 1e-5),
        (torch.float32, torch.float64, 1e-6),
        (torch.float16, torch.float32, 5e-3),
        (torch.bfloat16, torch.float32, 3e-2),
    ],
)
def test_rows_stored_in_less_are_projected_nearly_as_well(storage, dtype, tolerance):
    (c, B), g = rows(200, 1), torch.randn(50, R, generator=generator(4), dtype=torch.float64)
    unit, s = unit_rows(g)
    outputs = []
    for layer in (layer_of(c, B), layer_of(c.to(dtype), B.to(dtype), storage, dtype)):
        A, old, m = layer.part(50, 120)
        layer.absorb(50, 120, projected(layer.part(120, 200)[1], old, A * m[:, None]).coefficients)
        assert next(layer.tiles())[0].dtype == layer.storage
        outputs.append(layer.forward(unit.to(layer.dtype), s.to(layer.dtype))[0].double())
    assert (outputs[1] - outputs[0]).norm() < tolerance * outputs[0].norm()

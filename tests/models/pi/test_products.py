"""Products with rows stored in less: the same function whichever way they are taken."""

import pytest
import torch

from infwidth.models.pi import products
from infwidth.models.pi.growing import GrowingLayer, sphere, unit_rows

R, K = 7, 3


def layer(storage, dtype=torch.float32, n=1200):
    g = torch.Generator().manual_seed(0)
    A, B = torch.randn(n, K, generator=g, dtype=dtype), sphere(n, R, g, dtype)
    return GrowingLayer(A, B, torch.ones(n, dtype=dtype), dtype, storage, 1100)


@pytest.mark.parametrize("batch", [3, 40])
@pytest.mark.parametrize("storage, tolerance", [(torch.bfloat16, 1e-2), (torch.float16, 2e-3)])
def test_rows_are_widened_where_their_type_is_slow(batch, storage, tolerance, monkeypatch):
    """A few rows at a time, so that nothing of an array's length is held in the wide type.

    And nothing else is rounded.
    """
    narrow, wide = layer(storage), layer(None)
    wide.blocks = [block.moved(torch.device("cpu"), torch.float32, torch.float32) for block in narrow.blocks]
    g, cotangent = (torch.randn(batch, n, generator=torch.Generator().manual_seed(n)) for n in (R, K))
    unit, s = unit_rows(g)
    found = {}
    for fast in (True, False):
        monkeypatch.setattr(products, "multiplies_fast", lambda *types, fast=fast: fast)
        out, trace = narrow.forward(unit, s)
        found[fast] = out, narrow.backward(cotangent, unit, trace)
    out, trace = wide.forward(unit, s)
    expected = out, wide.backward(cotangent, unit, trace)
    for fast, rtol in ((False, 1e-5), (True, tolerance)):
        for a, b in zip(found[fast], expected, strict=True):
            assert (a - b).norm() < rtol * b.norm()
    assert not torch.equal(found[True][0], found[False][0])


def test_what_is_fast_is_measured_once_and_only_where_it_is_a_question(monkeypatch):
    products.multiplies_fast.cache_clear()
    asked, seconds = [], {True: 1.0, False: 2.0}
    monkeypatch.setattr(products, "_seconds", lambda work: asked.append(work) or seconds[len(asked) % 2 == 1])
    assert products.multiplies_fast(torch.float32, torch.float32, "cpu")
    assert products.multiplies_fast(torch.float32, torch.float64, "cpu")
    assert products.multiplies_fast(torch.bfloat16, torch.float32, "cuda")
    assert not asked
    assert products.multiplies_fast(torch.bfloat16, torch.float32, "cpu")
    seconds[True] = 3.0
    assert not products.multiplies_fast(torch.float16, torch.float32, "cpu")
    assert products.multiplies_fast(torch.bfloat16, torch.float32, "cpu") and len(asked) == 4
    products.multiplies_fast.cache_clear()

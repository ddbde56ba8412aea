"""Products of a batch with rows that may be stored in less than is computed in.

Where a device multiplies the narrow type fast, it multiplies it; a CPU without such units does so up to hundreds of
times slower than in float32, and then rows are widened a few at a time, which the cache holds.
"""

import time
from functools import lru_cache

import torch
from torch import Tensor

FEW, AT_ONCE = 16, 512
"""Up to so many examples a CPU takes so many rows at once; as many are widened at once."""

SAMPLE = (32, 256, 1024)
"""Sizes of the product by which types are compared."""


@lru_cache
def multiplies_fast(storage: torch.dtype, dtype: torch.dtype, device: str) -> bool:
    """Whether a kind of device multiplies in ``storage`` rather than widen it to ``dtype``: measured, once a process.

    CPUs with units for a type are three times as fast with it, those without at least three times as slow: far enough
    apart to come out alike at every start, on a busy machine too.
    """
    if device != "cpu" or storage in (dtype, torch.float32):
        return True
    b, k, n = SAMPLE
    rows, x = torch.ones(n, k, dtype=storage), torch.ones(b, k, dtype=dtype)
    return _seconds(lambda: (rows @ x.to(storage).mT).to(dtype)) <= _seconds(lambda: rows.to(dtype) @ x.mT)


def _seconds(work, rounds: int = 5) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def takes_few(x: Tensor, rows: Tensor) -> bool:
    """Whether x rowsᵀ is fastest taken with a few rows at a time, its result row by row; else as a tall product, its
    result transposed."""
    return len(x) <= FEW and rows.device.type == "cpu" and rows.dtype == x.dtype


def correlate(x: Tensor, rows: Tensor, out: Tensor) -> None:
    """out (b, n) = x rowsᵀ for x (b, k), rows (n, k) of any type."""
    if takes_few(x, rows):
        for i in range(0, len(rows), AT_ONCE):
            torch.mm(x, rows[i : i + AT_ONCE].mT, out=out[:, i : i + AT_ONCE])
    elif rows.dtype == x.dtype:
        torch.mm(rows, x.mT, out=out.mT)
    elif multiplies_fast(rows.dtype, x.dtype, rows.device.type):
        out.mT.copy_(rows @ x.to(rows.dtype).mT)
    else:
        for i in range(0, len(rows), AT_ONCE):
            torch.mm(rows[i : i + AT_ONCE].to(x.dtype), x.mT, out=out.mT[i : i + AT_ONCE])


def add_combination(out: Tensor, x: Tensor, rows: Tensor) -> None:
    """out (b, k) += x rows for x (b, n), rows (n, k) of any type: added up in out's own."""
    if rows.dtype == out.dtype:
        out.addmm_(x, rows)
    elif multiplies_fast(rows.dtype, out.dtype, rows.device.type):
        out += (x.to(rows.dtype) @ rows).to(out.dtype)
    else:
        for i in range(0, len(rows), AT_ONCE):
            out.addmm_(x[:, i : i + AT_ONCE], rows[i : i + AT_ONCE].to(out.dtype))

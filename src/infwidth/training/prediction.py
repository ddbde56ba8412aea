"""What a run will take of the time, said before it starts: from the rates that the device shows now."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from infwidth.gaussian import relu_v_step_v_root
from infwidth.models.cost import Work

DECIDES_NUMBERS = False

TABLE = (8192, 4096)
"""Rows and columns of the table that rows are gathered from."""

OVERHEAD = {"cpu": 3e-4, "cuda": 1.5e-3}
"""Seconds of a step that depend on no size: drawing and assembling a minibatch. Measured on a CPU, assumed on a GPU."""


@dataclass(frozen=True)
class Rates:
    """flops: floating-point operations a second in matrix products; bytes: moved in a second; expectations: Gaussian
    ones taken in a second; overhead: seconds that a step costs besides."""

    flops: float
    bytes: float
    expectations: float
    overhead: float

    def seconds(self, work: Work) -> float:
        return (
            work.flops / self.flops
            + work.bytes / self.bytes
            + work.expectations / self.expectations
            + work.steps * self.overhead
        )


def measured(work: Work, device: torch.device, dtype: torch.dtype) -> Rates:
    """The rates of a device, measured by a matrix product of the work's typical sizes, a gather of rows and a tile of
    expectations, each where the work has any."""
    return Rates(
        _products(work, device, dtype) if work.flops else math.inf,
        _gathers(device, dtype) if work.bytes else math.inf,
        _expectations(device, dtype) if work.expectations else math.inf,
        OVERHEAD.get(device.type, OVERHEAD["cpu"]),
    )


def taken_by_measurements(work: Work, dtype: torch.dtype) -> int:
    """Bytes of what :func:`measured` measures by, one after the other."""
    n, k, m = work.product
    products = n * k + m * k + n * m if work.flops else 0
    gathers = TABLE[0] * TABLE[1] * 5 // 4 if work.bytes else 0
    return max(products, gathers) * dtype.itemsize


def _products(work: Work, device: torch.device, dtype: torch.dtype) -> float:
    n, k, m = work.product
    a, b = torch.ones(n, k, device=device, dtype=dtype), torch.ones(m, k, device=device, dtype=dtype)
    return 2 * n * k * m / _fastest(lambda: a @ b.mT, device)


def _gathers(device: torch.device, dtype: torch.dtype) -> float:
    table = torch.ones(TABLE, device=device, dtype=dtype)
    index = torch.randperm(len(table), device=device)[: len(table) // 4]
    moved = 2 * index.numel() * table.shape[1] * dtype.itemsize
    return moved / _fastest(lambda: table.index_select(0, index), device)


def _expectations(device: torch.device, dtype: torch.dtype) -> float:
    tile = torch.zeros(256, 1024, device=device, dtype=dtype)
    # Four passes more: weighing, and what the backward pass makes of them.
    return tile.numel() / (1.5 * _fastest(lambda: relu_v_step_v_root(tile), device))


def _fastest(work, device: torch.device, rounds: int = 4) -> float:
    times = []
    for _ in range(rounds):
        _wait(device)
        begin = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - begin)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be allocated on a device now; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return None

"""What a run will take, said before it starts: memory, exactly, and time, from the rates that the device shows now."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from infwidth.gaussian import relu_v_step_v_root
from infwidth.models.cost import Work

DECIDES_NUMBERS = False

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
    expectations."""
    n, k, m = work.product
    a, b = torch.ones(n, k, device=device, dtype=dtype), torch.ones(m, k, device=device, dtype=dtype)
    table = torch.ones(8192, 4096, device=device, dtype=dtype)
    index = torch.randperm(len(table), device=device)[: len(table) // 4]
    tile = torch.zeros(256, 1024, device=device, dtype=dtype)
    product = _fastest(lambda: a @ b.mT, device)
    gather = _fastest(lambda: table.index_select(0, index), device)
    expectation = _fastest(lambda: relu_v_step_v_root(tile), device)
    moved = 2 * index.numel() * table.shape[1] * dtype.itemsize
    # Four passes more: weighing, and what the backward pass makes of them.
    return Rates(
        2 * n * k * m / product,
        moved / gather,
        tile.numel() / (1.5 * expectation),
        OVERHEAD.get(device.type, OVERHEAD["cpu"]),
    )


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

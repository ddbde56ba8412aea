"""How many CPU threads a run computes on: as many as it is told, or as many as there are cores that nobody uses.

Threads that share the work of a product wait for each other, many times a millisecond. Where one of them shares its
core with another process, all wait for that one: two threads beside one busy process of one thread are slower than one
thread, by half if they sleep while they wait, and up to a hundredfold if they spin, as they do since that is fastest on
a quiet machine. So the number is settled by what is free when a run begins, and kept: sums in another number of parts
are not the same to the last digit.
"""

import os
import time
from pathlib import Path

import torch

DECIDES_NUMBERS = False

ALL = torch.get_num_threads()
"""What there are at most: OMP_NUM_THREADS where that is set, else a thread for each core."""

WATCHED = 0.25
"""Seconds for which is watched which cores are in use."""

TAKEN = 0.5
"""Cores that must be in use, beyond a whole number, for one more to count as taken."""


def settled(asked: int | None, before: int | None = None) -> int:
    """Set the number of threads, and return it.

    asked: trainer.threads, which has the last word; before: those of an earlier start of the run, which it keeps.
    """
    threads = asked or before or free()
    torch.set_num_threads(threads)
    return threads


def free() -> int:
    """Threads for the cores that no process of ordinary priority computes on now: at least one.

    All of them where OMP_NUM_THREADS says how many, where there is one, and where the system does not tell.
    """
    if ALL == 1 or "OMP_NUM_THREADS" in os.environ:
        return ALL
    before = _core_seconds()
    if before is None:
        return ALL
    began = time.monotonic()
    time.sleep(WATCHED)
    in_use = (_core_seconds() - before) / (time.monotonic() - began)
    cores = os.cpu_count() or ALL
    return max(1, min(ALL, cores - int(in_use + TAKEN)))


def _core_seconds() -> float | None:
    """Seconds that all cores have computed at ordinary priority since the start of the system; None if it is not told.

    Work at a lower priority (nice) gives way, and is left out.
    """
    try:
        name, user, _nice, system = Path("/proc/stat").read_text().split(maxsplit=4)[:4]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") if name == "cpu" else None
    except (OSError, ValueError):
        return None

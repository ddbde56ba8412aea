"""The most memory that a run takes, measured: on a GPU what PyTorch takes, on a CPU what is resident of the process.

A process of its own is there before the run: its program, or what earlier runs in it have left. What a run takes is
what comes above that.
"""

import ctypes
import resource
from pathlib import Path

import torch

DECIDES_NUMBERS = False

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """The peak memory from now on. before: bytes that the process had already when this was made."""

    def __init__(self, device: torch.device):
        self.device = device
        _give_back()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)
        else:
            _forget_peak()
            self.before = self.bytes

    @property
    def bytes(self) -> int:
        """The peak so far, what was there before included."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        try:
            line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        except (OSError, StopIteration):
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _give_back() -> None:
    """Let the system have what has been freed in this process and is kept for later."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass  # another C library


def _forget_peak() -> None:
    """On Linux; elsewhere the peak stays the whole process's."""
    try:
        FORGET.write_text("5")
    except OSError:
        pass

"""Where a number came from: for every start of a run its commit, hardware, package versions, time and memory.

A run that is killed and resumed has several starts. They are kept in ``provenance.json`` of its folder, which is
brought up to date whenever the run logs, so that a killed start is counted up to there.
"""

import datetime
import functools
import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from infwidth.config import load
from infwidth.errors import ConfigError
from infwidth.training.peak import Peak
from infwidth.training.run_directory import RunDirectory

DECIDES_NUMBERS = False

PROVENANCE = "provenance.json"

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "hydra-core", "wandb", "learn2learn")


def commit() -> str:
    """Short commit id of the source tree, with '+' if it has uncommitted changes; 'unknown' outside git."""

    def git(*arguments: str) -> str:
        folder = Path(__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/src", ":/conf")
        return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def hardware(device: torch.device) -> str:
    """A line such as '2 threads of Intel(R) Xeon(R) Processor, 23 GiB'."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{torch.get_num_threads()} threads of {processor()}, {memory:.0f} GiB"


def processor() -> str:
    """The model of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@functools.cache
def versions() -> Mapping[str, str]:
    """Of Python and of the packages that numbers could depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return found


def now() -> str:
    """The time, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Start:
    """One start of a run: when, with which code and on what it began; up to which step, how long and with how much
    memory it ran, that of the program by itself included."""

    started: str
    commit: str
    hardware: str
    threads: int
    system: str
    versions: dict[str, str]
    fingerprint: str = ""
    step: int = 0
    wall_seconds: float = 0.0
    peak_memory_bytes: int = 0
    program_memory_bytes: int = 0

    @property
    def run_memory_bytes(self) -> int:
        """What the run itself has taken."""
        return max(self.peak_memory_bytes - self.program_memory_bytes, 0)

    @classmethod
    def now(cls, peak: Peak, fingerprint: str) -> "Start":
        threads, system = torch.get_num_threads(), platform.platform()
        about = (now(), commit(), hardware(peak.device), threads, system, dict(versions()), fingerprint)
        return cls(*about, program_memory_bytes=peak.before)


class Starts:
    """The starts of a run, this one the last; kept in the run's folder, which exists.

    peak: the memory's, of this start; fingerprint: of the code.
    """

    def __init__(self, directory: RunDirectory, peak: Peak, fingerprint: str = ""):
        self.directory, self.peak, self.began = directory, peak, time.monotonic()
        self.earlier, self.last = _earlier(directory), Start.now(peak, fingerprint)
        self._write()

    def log(self, row: Mapping[str, Any]) -> None:
        """Note how far this start has come. row: what is logged of the run, with the step that it is at."""
        seconds = round(time.monotonic() - self.began, 2)
        self.last = replace(self.last, step=row["step"], wall_seconds=seconds, peak_memory_bytes=self.peak.bytes)
        self._write()

    def _write(self) -> None:
        self.directory.write_json(PROVENANCE, {"starts": [asdict(start) for start in self.all]})

    @property
    def all(self) -> list[Start]:
        return [*self.earlier, self.last]

    def summary(self, step: int = 0) -> dict[str, Any]:
        """What a run that ends at a step keeps of where it came from.

        commit and versions are those of the first start, commits are all if there are several, hardware is all that it
        ran on; wall_seconds is the sum over all starts, peak_memory_bytes their largest, and so is run_memory_bytes,
        which is above the memory of the program.
        """
        self.log({"step": step})
        commits = list(dict.fromkeys(start.commit for start in self.all))
        return {
            "commit": commits[0],
            **({"commits": commits} if len(commits) > 1 else {}),
            "hardware": "; then ".join(dict.fromkeys(start.hardware for start in self.all)),
            "versions": self.all[0].versions,
            "wall_seconds": round(sum(start.wall_seconds for start in self.all), 2),
            "peak_memory_bytes": max(start.peak_memory_bytes for start in self.all),
            "run_memory_bytes": max(start.run_memory_bytes for start in self.all),
            "ended": now(),
            "starts": [asdict(start) for start in self.all],
        }


def _earlier(directory: RunDirectory) -> list[Start]:
    """What a folder keeps of earlier starts; none, and that is said, if it is not readable."""
    path = directory.path / PROVENANCE
    try:
        return [load(Start, start, "starts") for start in json.loads(path.read_text())["starts"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as e:
        print(f"{path} is damaged ({e}): the starts before this one are not known.", flush=True)
        return []


def earlier_fingerprints(directory: RunDirectory) -> list[str]:
    """The fingerprints of the code of a run's earlier starts."""
    return [digest for digest in dict.fromkeys(start.fingerprint for start in _earlier(directory)) if digest]


def earlier_threads(directory: RunDirectory) -> int | None:
    """The CPU threads of a run's last start; None where there was none."""
    starts = _earlier(directory)
    return starts[-1].threads if starts else None

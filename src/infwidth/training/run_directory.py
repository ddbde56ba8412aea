"""A run's folder results/runs/<experiment>/<id>/ and the id: a hash of what decides the numbers."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from infwidth.errors import OutputError
from infwidth.training.checkpoints import LAST, PREVIOUS

CONFIG, METRICS, SUMMARY, FEATURES, CHECKPOINTS, LOCK = (
    "config.yaml",
    "metrics.jsonl",
    "summary.json",
    "features.npz",
    "checkpoints",
    ".lock",
)
EVIDENCE = "evidence"


def run_id(deciding: Mapping[str, Any]) -> str:
    """Twelve hex digits of the sha256 of the deciding config (canonical JSON, in which 1.0 and 1 are the same)."""
    return hashlib.sha256(json.dumps(_canonical(deciding), sort_keys=True).encode()).hexdigest()[:12]


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _canonical(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def write_json(path: Path, value: Any) -> None:
    """Write atomically: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(temporary, path)


def _archive(arrays: Mapping[str, np.ndarray]) -> Callable[[Path], None]:
    return lambda path: np.savez_compressed(path, **arrays)


class RunDirectory:
    """The files of one run. Every failure to write raises OutputError that names the folder."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def summary(self) -> dict[str, Any]:
        """What is known of the run; empty before its first end or interruption, and if the file is damaged."""
        try:
            found = json.loads((self.path / SUMMARY).read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def create(self, config: Mapping[str, Any]) -> None:
        with self._writing():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            (self.path / CONFIG).write_text(yaml.safe_dump(dict(config), sort_keys=False))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the run while this one works in it; a killed process leaves no lock behind.

        Raises OutputError if another process has it.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / LOCK, "w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OutputError(
                    f"the run {self.path} is being carried out by another process; wait for it, or stop it and run the same command again."
                ) from None
            yield

    def is_locked(self) -> bool:
        """Whether a process is working in it."""
        try:
            with open(self.path / LOCK) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def clear(self) -> None:
        """Remove everything that an earlier run left."""
        with self._writing():
            for entry in self.path.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != LOCK:
                    entry.unlink()

    def forget_progress(self) -> None:
        """Remove the checkpoints that only a resume needs."""
        for name in (LAST, PREVIOUS):
            (self.checkpoints / name).unlink(missing_ok=True)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        with self._writing():
            write_json(self.path / SUMMARY, summary)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        with self._writing(), open(self.path / METRICS, "a") as f:
            f.write(json.dumps(row) + "\n")

    def metrics_size(self) -> int:
        """Bytes of metrics.jsonl now: a checkpoint remembers it."""
        path = self.path / METRICS
        return path.stat().st_size if path.exists() else 0

    def truncate_metrics(self, size: int) -> None:
        """Forget what was logged after the checkpoint that the run resumes from."""
        with self._writing(), open(self.path / METRICS, "a") as f:
            f.truncate(size)

    def write_features(self, **arrays: np.ndarray) -> None:
        self.write_files({FEATURES: _archive(arrays)})

    def write_evidence(
        self, arrays: Mapping[str, np.ndarray], tables: Mapping[str, Any], files: Mapping[str, Callable[[Path], None]]
    ) -> None:
        """evidence.npz, evidence.json and files of the task's own; nothing where there is nothing."""
        self.write_files({**files, **({f"{EVIDENCE}.npz": _archive(arrays)} if arrays else {})})
        if tables:
            with self._writing():
                write_json(self.path / f"{EVIDENCE}.json", tables)

    def write_files(self, files: Mapping[str, Callable[[Path], None]]) -> None:
        """Files by name, each by its function, whole or not at all."""
        with self._writing():
            for name, write in files.items():
                temporary = self.path / f".{os.getpid()}.{name}"  # numpy wants its suffix at the end
                write(temporary)
                os.replace(temporary, self.path / name)

    def _writing(self) -> "_Writing":
        return _Writing(self.path)


class _Writing:
    def __init__(self, path: Path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, OSError):
            raise OutputError(
                f"the run's folder {self.path} cannot be written ({error.strerror}); make room or set paths.results to a folder "
                "that can be written, then run the same command again: what was saved is kept."
            ) from error

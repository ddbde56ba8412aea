"""A run's folder results/runs/<experiment>/<id>/: what is in it, who works in it, and how it is written."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from infwidth.errors import OutputError
from infwidth.training.checkpoints import LAST, PREVIOUS
from infwidth.training.files import plain, remove_left_over, write_json, write_whole

DECIDES_NUMBERS = False

CONFIG, METRICS, SUMMARY, FEATURES = "config.yaml", "metrics.jsonl", "summary.json", "features.npz"
EVIDENCE_ARRAYS, EVIDENCE_TABLES = "evidence.npz", "evidence.json"
CHECKPOINTS, EVALUATIONS, LOCK = "checkpoints", "evaluations", ".lock"

TRIES, BETWEEN = 10, 0.05
"""How often a lock is asked for, and the seconds between: who looks whether it is taken has it for a moment."""


class RunDirectory:
    """The files of one run. Every failure to write raises OutputError that names the folder."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @property
    def id(self) -> str:
        """The run's."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / CHECKPOINTS

    def summary(self) -> dict[str, Any]:
        """What is known of the run; empty before its first end or interruption. OutputError if the file is damaged."""
        path = self.path / SUMMARY
        try:
            found = json.loads(path.read_text())
            if not isinstance(found, dict) or not isinstance(found.get("status"), str):
                raise ValueError("it has no status")
            return found
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError) as e:
            raise OutputError(
                f"{path} is damaged ({e}); restore it, or use force=true, which carries out the run again."
            ) from e

    def create(self, config: Mapping[str, Any]) -> None:
        """Make it ready for a start: its config is written, what a killed process has half written is removed."""
        with self._writing():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            remove_left_over(self.path)
            remove_left_over(self.checkpoints)
            text = yaml.safe_dump(dict(config), sort_keys=False)
            write_whole(self.path / CONFIG, lambda path: path.write_text(text))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the run while this one works in it; a killed process leaves no lock behind.

        Raises OutputError if another process has it.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self._lock(os.O_RDWR | os.O_CREAT))
        with lock:
            if not _taken(lock):
                raise OutputError(
                    f"the run {self.path} is being carried out by another process; wait for it, or stop it and run the "
                    "same command again."
                )
            yield

    def is_locked(self) -> bool:
        """Whether a process is working in it."""
        try:
            with open(self._lock(os.O_RDONLY)) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
        except BlockingIOError:
            return True
        except (OSError, OutputError):
            return False

    def _lock(self, flags: int) -> int:
        """The lock file, opened as it is: whatever a link in its place points to stays untouched."""
        try:
            return os.open(self.path / LOCK, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as e:
            if e.errno == errno.ELOOP:
                raise OutputError(f"{self.path / LOCK} is a link to another file; remove the link.") from e
            raise

    def clear(self) -> None:
        """Remove everything that an earlier run left."""
        with self._writing():
            for entry in self.path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry.name != LOCK:
                    entry.unlink()

    def resumable(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any((self.checkpoints / name).exists() for name in (LAST, PREVIOUS))

    def forget_progress(self) -> None:
        """Remove the checkpoints that only a resume needs."""
        with self._writing():
            for name in (LAST, PREVIOUS):
                (self.checkpoints / name).unlink(missing_ok=True)

    def write_json(self, name: str, value: Any) -> None:
        with self._writing():
            write_json(self.path / name, value)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        self.write_json(SUMMARY, summary)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl; null stands for a number that is not finite."""
        with self._writing(), open(self.path / METRICS, "a") as f:
            f.write(json.dumps(plain(row), allow_nan=False) + "\n")

    def mark_metrics(self) -> dict[str, int]:
        """Size and CRC of metrics.jsonl, which is on the disk before a checkpoint remembers them."""
        with self._writing(), open(self.path / METRICS, "ab+") as f:
            os.fsync(f.fileno())
            f.seek(0)
            content = f.read()
        return {"size": len(content), "crc": zlib.crc32(content)}

    def has_metrics(self, mark: Any) -> bool:
        """Whether metrics.jsonl still begins with what was marked."""
        try:
            content = (self.path / METRICS).read_bytes()[: mark["size"]]
            return {"size": len(content), "crc": zlib.crc32(content)} == mark
        except (OSError, TypeError, KeyError):
            return False

    def truncate_metrics(self, size: int) -> None:
        """Forget what was logged after the checkpoint that the run resumes from."""
        with self._writing(), open(self.path / METRICS, "a") as f:
            f.truncate(size)

    def write_features(self, **arrays: np.ndarray) -> None:
        self.write_files({FEATURES: _archive(arrays)})

    def write_evaluation(self, epoch: int, arrays: Mapping[str, np.ndarray]) -> None:
        """evaluations/<epoch>.npz; nothing where there is nothing."""
        if arrays:
            with self._writing():
                (self.path / EVALUATIONS).mkdir(exist_ok=True)
            self.write_files({f"{EVALUATIONS}/{epoch}.npz": _archive(arrays)})

    def write_evidence(
        self, arrays: Mapping[str, np.ndarray], tables: Mapping[str, Any], files: Mapping[str, Callable[[Path], None]]
    ) -> None:
        """evidence.npz, evidence.json and files of the task's own; nothing where there is nothing."""
        self.write_files({**files, **({EVIDENCE_ARRAYS: _archive(arrays)} if arrays else {})})
        if tables:
            self.write_json(EVIDENCE_TABLES, tables)

    def write_files(self, files: Mapping[str, Callable[[Path], None]]) -> None:
        """Files by name, each by its function, whole or not at all."""
        with self._writing():
            for name, write in files.items():
                write_whole(self.path / name, write)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            then = "it goes on from its last checkpoint" if self.resumable() else "it starts anew"
            raise OutputError(
                f"the run's folder {self.path} cannot be written ({e.strerror}); make room or set paths.results to a "
                f"folder that can be written, then run the same command again: {then}."
            ) from e


def _taken(lock) -> bool:
    """Take an open lock file for this process; False if another one keeps it."""
    for attempt in range(TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if attempt + 1 < TRIES:
                time.sleep(BETWEEN)
    return False


def _archive(arrays: Mapping[str, np.ndarray]) -> Callable[[Path], None]:
    return lambda path: np.savez_compressed(path, **arrays)

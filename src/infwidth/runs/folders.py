"""Where runs lie: results/runs/<name>/<id>. Nothing is written outside the folder that paths.results names."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from infwidth.config import load
from infwidth.errors import ConfigError

DECIDES_NUMBERS = False

RUNS = "runs"

LONGEST_NAME = 255
"""Bytes of a file's name on the usual file systems."""


@dataclass(frozen=True, kw_only=True)
class PathsConfig:
    """conf/train.yaml: paths"""

    results: str

    def __post_init__(self):
        if not self.results.strip():
            raise ConfigError("paths.results is empty; name a folder, such as results.")
        _require_folder(Path(self.results), "paths.results")


def require_name(name: str) -> None:
    """ConfigError for a run's ``name`` that cannot be the name of a folder, or would lead out of the one it is in."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ConfigError(f"name is {name!r}; it becomes a folder, so use letters, digits, '_', '-' and '.' only.")


def folder_of_runs(results: object, name: object) -> Path:
    """The folder of the runs of a name. ConfigError if either is no folder's name."""
    paths = load(PathsConfig, {"results": results}, "paths")
    require_name(str(name))
    folder = Path(paths.results) / RUNS / str(name)
    _require_folder(folder, f"the folder of name={name}")
    return folder


def _require_folder(path: Path, what: str) -> None:
    """ConfigError unless the path is a folder, or could be made one."""
    shown = path if len(str(path)) < 100 else f"{str(path)[:100]}..."
    try:
        if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
            raise ConfigError(f"{what} is {shown}, which is too long a name; shorten it.")
        if not path.is_dir() and os.path.lexists(path):
            raise ConfigError(f"{what} is {shown}, which is a file; name a folder.")
        os.stat(path)
    except FileNotFoundError:
        pass  # it will be made
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) else e
        raise ConfigError(f"{what} is {shown}, which cannot be a folder ({why}); name another.") from e

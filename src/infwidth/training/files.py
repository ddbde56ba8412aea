"""Files that are whole or absent, and JSON that every reader can read."""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

DECIDES_NUMBERS = False

TEMPORARY = re.compile(r"\.\d+\..+")
"""The name of a file that a process is writing: its number, then what the file will be called."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file under a temporary name and rename it: a reader sees the old file or the new one.

    The file is on the disk before it has its name, so that a loss of power leaves no empty one. OSError if it cannot be
    written; nothing is left behind then.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # numpy wants its suffix at the end
    try:
        write(temporary)
        with open(temporary, "rb") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as :func:`plain` JSON, whole or not at all."""
    text = json.dumps(plain(value), indent=1, allow_nan=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text))


def plain(value: Any) -> Any:
    """A value for JSON, which has no NaN and no infinity: null stands for a number that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def remove_left_over(folder: Path) -> None:
    """Remove what processes that were killed while writing have left in a folder in which nobody else is writing."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if TEMPORARY.fullmatch(path.name) and not path.is_dir():
            path.unlink(missing_ok=True)

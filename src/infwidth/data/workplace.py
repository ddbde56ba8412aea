"""A folder to work in beside what is being made, so that a file or folder is whole when it appears under its name."""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infwidth.errors import DataError

DECIDES_NUMBERS = False

HOST = re.sub(r"\W", "-", platform.node())
SUFFIX = ".partial"


@contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, removed at the end; move out of it, or rename it, what is to stay.

    A process that was killed cannot remove its folder: the next one on this machine does. Raises DataError if no folder
    can be made there.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        prefix = f".{target.name}.{HOST}.{os.getpid()}."
        folder = Path(tempfile.mkdtemp(SUFFIX, prefix, target.parent))
    except OSError as e:
        raise DataError(
            f"{target} cannot be written ({e.strerror}); set data.root to a folder with room that you may write to."
        ) from e
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    """Remove the work folders of processes of this machine that are no more."""
    for folder in parent.glob(f".*{SUFFIX}"):
        owner = re.fullmatch(rf"\..+\.{re.escape(HOST)}\.(\d+)\.\w+{re.escape(SUFFIX)}", folder.name)
        if owner and not _is_alive(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True

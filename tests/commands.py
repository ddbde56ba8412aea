"""The commands as a user types them."""

import os
import subprocess
import sys

from tests.conftest import REPOSITORY


def command(module, *arguments, folder=None, check=True, **environment):
    """Run ``python -m infwidth.<module>`` as a user would."""
    extra = [f"paths.results={folder}/results", f"data.root={folder}/data"] if folder else []
    done = subprocess.run(
        [sys.executable, "-m", f"infwidth.{module}", *arguments, *extra],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert not check or done.returncode == 0, done.stderr
    return done

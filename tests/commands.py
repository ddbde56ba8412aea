"""The commands as a user types them."""

import os
import signal
import subprocess
import sys

from tests.conftest import REPOSITORY


def refused(done, sentence):
    """Whether a command ended in this one sentence (a part of it) and status 2."""
    lines = done.stderr.splitlines()
    return done.returncode == 2 and len(lines) == 1 and lines[0].startswith("error: ") and sentence in lines[0]


def interrupted(module, at, *arguments):
    """(exit status, standard error) of a command that gets Ctrl-C when it has just imported the module ``at``."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", f"infwidth.{module}", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:  # a line for every import
            if line.rpartition("|")[2].strip() == at:
                break
        process.send_signal(signal.SIGINT)
        said = [line for line in process.stderr.read().splitlines() if not line.startswith("import time:")]
    return process.returncode, "\n".join(said)


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

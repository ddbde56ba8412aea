"""The Makefile: its help is whole."""

import os
import re
import subprocess

from tests.conftest import REPOSITORY


def test_help_lists_every_target():
    text = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"^([A-Za-z][^\s:=]*):(?!=)", text, re.MULTILINE)
    # Not as a make within `make test`, which would say which folder it enters.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(["make", "help"], cwd=REPOSITORY, env=outside, capture_output=True, text=True, check=True)
    listed = done.stdout
    assert {"lint", "bench-pi_limit", "bench-word2vec"} < set(targets)
    assert [line.split()[0] for line in listed.split("\n\n")[0].splitlines()] == targets

"""The Makefile: its help is whole."""

import re
import subprocess

from tests.conftest import REPOSITORY


def test_help_lists_every_target():
    text = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"^([A-Za-z][^\s:=]*):(?!=)", text, re.MULTILINE)
    listed = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert {"lint", "bench-pi_limit", "bench-word2vec"} < set(targets)
    assert [line.split()[0] for line in listed.split("\n\n")[0].splitlines()] == targets

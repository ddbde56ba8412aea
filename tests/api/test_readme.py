"""The example of the README is that of examples/, and does what it says."""

import re
import subprocess
import sys
import textwrap

import infwidth
from tests.conftest import REPOSITORY

EXAMPLE = REPOSITORY / "examples/digits.py"


def section():
    return re.search(r"## As a library\n(.*?)\n## ", (REPOSITORY / "README.md").read_text(), re.DOTALL)[1]


def test_the_readme_shows_the_example():
    code = EXAMPLE.read_text().partition('"""\n\n')[2]
    assert textwrap.indent(code, "    ", lambda line: line.strip()) in section()
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_it_recognises_digits():
    done = subprocess.run([sys.executable, EXAMPLE], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    limit, drawn = (float(number) for number in re.findall(r": ([\d.]+) %", done.stdout))
    assert limit >= 95 and drawn >= 95


def test_the_readme_names_what_is_public():
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section(), re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    results = {"__version__", "Card", "CoordinateCheck", "History", "Parametrization"}  # of what others return
    assert named == set(infwidth.__all__) - results

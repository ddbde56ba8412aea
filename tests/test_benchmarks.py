"""Benchmarks without what they need end in a sentence, as the commands do."""

import os
import subprocess
import sys

import pytest

from tests.commands import refused
from tests.conftest import REPOSITORY


def benchmark(name, *arguments, folder):
    """Run a benchmark in a folder without prepared data, and without a mirror of the datasets."""
    environment = {k: v for k, v in os.environ.items() if k != "DATA_MIRROR"}
    return subprocess.run(
        [sys.executable, REPOSITORY / "benchmarks" / f"{name}.py", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "name, arguments, sentence",
    [
        ("word2vec", [], "simple8 was not found in data/raw"),
        ("minibatches", [], "simple8 was not found in data/raw"),
        ("kernels", ["--peer", "/nowhere/python"], "neural-tangents of --peer /nowhere/python does not start"),
        ("kernels", ["--peer", sys.executable], "No module named 'neural_tangents'"),
        ("sweep", ["sweep=maml_width"], "the sweep failed: sweep=maml_width does not exist (did you mean"),
    ],
)
def test_what_is_missing_is_a_sentence(name, arguments, sentence, tmp_path):
    done = benchmark(name, *arguments, folder=tmp_path)
    assert refused(done, sentence), done.stderr


@pytest.mark.parametrize(
    "arguments, said", [(["--rounds", "0"], "0 is less than 1"), (["--json", "/nowhere/x"], "is no file in a folder")]
)
def test_options_are_looked_at_before_the_work(arguments, said, tmp_path):
    done = benchmark("maml", *arguments, folder=tmp_path)
    assert done.returncode == 2 and said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_a_missing_peer_is_a_sentence():
    code = (
        f"import sys; sys.path.insert(0, {str(REPOSITORY / 'benchmarks')!r}); "
        "from common import carried_out, require_peer; carried_out(lambda: require_peer('no_such_peer', 'a peer'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert refused(done, "this benchmark compares with a peer, which is not installed")

"""Ctrl-C before the training has begun."""

import signal
import subprocess
import sys

import pytest

from infwidth import job, train
from infwidth.training.stopping import Interrupted
from tests.conftest import REPOSITORY
from tests.training.helpers import SMALL, small

WAITING = """
import time
import infwidth.{module} as module
from infwidth import train

def wait(*arguments, **named):
    print("waiting", flush=True)
    time.sleep(100)

module.{name} = wait
train.main()
"""


@pytest.mark.parametrize(
    "module, name, said",
    [
        ("job", "obtain", "Interrupted. What was written is kept, the same command goes on from there."),
        ("runs.spec", "stream", "Interrupted. What was written is kept, the same command goes on from there."),
        ("train", "plain", "interrupted"),
    ],
    ids=["while data is prepared", "while the model is built", "while the config is put together"],
)
def test_ctrl_c_during_the_start_is_a_sentence(tmp_path, module, name, said):
    arguments = ["model=finite", *SMALL, f"paths.results={tmp_path}/results", f"data.root={tmp_path}/data"]
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING.format(module=module, name=name), *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.stdout.readline() != "waiting\n":
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error == f"{said}\n"


def test_whoever_calls_a_run_is_told(tmp_path, monkeypatch):
    def interrupted(data):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "obtain", interrupted)
    with pytest.raises(Interrupted, match="the same command goes on from there"):
        train.run(small(tmp_path))

"""The peak memory of whole runs, predicted before they start, beside what was measured.

    python benchmarks/memory.py [--cases pi_limit ...] [--json FILE] [key=value ...]

A case is a short run of a family on a task at a moderate size, from its data to its conclusion, in a process of its
own; both numbers are what comes above the program with its imports. A resumed run is interrupted when it has saved for
the first time, and what is measured is its second start. Other keys, such as data.root=DIR, go to every run.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import carried_out, heading, plain_options, written

from infwidth import train
from infwidth.errors import ConfigError
from infwidth.runs.compose import composed

ALWAYS = ["scale=cpu", "logger=none", "replay=false", "trainer.progress=false"]

IMAGES = ["trainer.schedule.name=constant", "task.validation_images=1000", "task.feature_regulariser=null"]
LANDMARKS = [*IMAGES, "model.landmarks=epoch", "task.subset=4000", "trainer.epochs=3"]
REGRESSED = [
    "trainer.schedule.name=constant",
    "task.subset=8000",
    "task.feature_regulariser=0.001",
    "task.validation_images=1000",
    "trainer.epochs=1",
]
TEXT = ["data.bytes=5000000", "trainer.steps=300"]
FEW = ["trainer.epochs=2", "task.steps_per_epoch=50"]

CASES = {
    "pi_limit": ["experiment=cifar10/pi_limit", *IMAGES, "task.subset=6000", "trainer.epochs=3"],
    "pi_limit landmarks": ["experiment=cifar10/pi_limit", *LANDMARKS],
    "pi_limit landmarks resumed": ["experiment=cifar10/pi_limit", *LANDMARKS, "trainer.checkpoint_every=1"],
    "pi_limit regression": ["experiment=cifar10/pi_limit", *REGRESSED],
    "pi_net regression": ["experiment=cifar10/pi_net_512", *REGRESSED],
    "mu_net": ["experiment=cifar10/mu_net_2048", *IMAGES, "task.subset=2000", "trainer.epochs=2"],
    "nngp_limit": ["experiment=cifar10/nngp_subset", "task.subset=8000"],
    "ntk_limit": ["experiment=cifar10/ntk_subset", "task.subset=8000"],
    "word2vec width 256": ["experiment=word2vec/width_256", *TEXT, "data.min_count=2"],
    "word2vec mu_limit": ["experiment=word2vec/mu_limit", *TEXT, "data.min_count=20"],
    "word2vec ntk_limit": ["experiment=word2vec/ntk_limit", *TEXT, "data.min_count=10"],
    "maml mu_limit": ["experiment=maml/mu_limit", *FEW],
    "maml width 8192": ["experiment=maml/width_8192", *FEW],
    "maml ntk_limit trained": ["experiment=maml/relu_ntk_trained", *FEW],
    "maml_pi pi_limit": ["experiment=maml_pi/pi_limit", *FEW, "task.steps_per_epoch=200"],
    "maml_pi pi_net": ["experiment=maml_pi/pi_net_512", *FEW],
}


def carry_out(name, folder, overrides):
    """Carry out the run of a case in this process."""
    train.run(composed("train", [*CASES[name], *ALWAYS, f"paths.results={folder}", *overrides]))


def interrupt(command, folder):
    """Start a command that carries out a run, and interrupt it when the run has saved."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(Path(folder).glob("runs/*/*/checkpoints/last.safetensors")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait()


def measured(name, overrides):
    """What was predicted of a case, and what its last start has taken."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--case", name, folder, *overrides]
        if name.endswith("resumed"):
            interrupt(command, folder)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            complaint = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
            raise ConfigError(f"{name} failed: {complaint.removeprefix('error: ')}")
        (summary,) = Path(folder).glob("runs/*/*/summary.json")
        found = json.loads(summary.read_text())
    last = found["provenance"]["starts"][-1]
    return {
        "case": name,
        "predicted_bytes": found["predicted"]["memory_bytes"],
        "phase": found["predicted"]["memory_phase"],
        "measured_bytes": last["peak_memory_bytes"] - last["program_memory_bytes"],
        "starts": len(found["provenance"]["starts"]),
    }


def main():
    parser = plain_options(__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    arguments, overrides = parser.parse_known_args()
    if arguments.case:
        carry_out(*arguments.case, overrides)
        return
    found = {**heading(1), "runs": []}
    for name in arguments.cases:
        run = measured(name, overrides)
        found["runs"].append(run)
        ratio = run["measured_bytes"] / run["predicted_bytes"]
        print(
            f"{name:>26}: predicted {run['predicted_bytes'] / 1e6:6.0f} MB, in {run['phase']}; measured "
            f"{run['measured_bytes'] / 1e6:6.0f} MB, {ratio:.2f} times as much",
            flush=True,
        )
    written(found, arguments.json)


if __name__ == "__main__":
    carried_out(main)

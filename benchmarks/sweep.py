"""A sweep of 24 small runs with joblib's two workers against the same jobs one after another, one thread each.

Start-up is included.

python benchmarks/sweep.py [--rounds 1] [--json FILE] [override ...]      (by default sweep=maml_widths scale=demo)
"""

import os
import statistics
import sys
import tempfile
import time

from common import carried_out, heading, options, output_of, written

from infwidth.errors import ConfigError

DEFAULT = ["sweep=maml_widths", "scale=demo", "logger=none", "trainer.progress=false"]
LAUNCHERS = {
    "sequential": ["trainer.threads=1"],
    "joblib, 2 workers": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
}


def seconds_of(overrides: list[str]) -> tuple[float, str]:
    """Wall seconds of a sweep in an empty folder, and the line with what became of its jobs."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        command = [sys.executable, "-m", "infwidth.train", *overrides, f"paths.results={folder}"]
        said = output_of(command, "the sweep", env={**os.environ, "OMP_NUM_THREADS": "1"})
        took = time.monotonic() - started
    outcome = next((line for line in said.splitlines() if " jobs; " in line), None)
    if outcome is None:
        raise ConfigError(f"{' '.join(overrides)} is no sweep; give sweep=NAME.")
    return took, outcome.split(": ", 1)[1]


def main():
    parser = options(__doc__, rounds=1)
    parser.add_argument("overrides", nargs="*", default=DEFAULT)
    arguments = parser.parse_args()
    found = heading(arguments.rounds)
    seconds = {name: [] for name in LAUNCHERS}
    for _ in range(arguments.rounds):
        for name, launcher in LAUNCHERS.items():
            took, outcome = seconds_of([*arguments.overrides, *launcher])
            seconds[name].append(took)
            print(f"{name}: {took:.1f} s ({outcome})", flush=True)
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    sequential, parallel = medians.values()
    print(f"\njoblib is {sequential / parallel:.2f} times as fast")
    written(
        {**found, "overrides": arguments.overrides, "seconds": medians, "ratio": sequential / parallel}, arguments.json
    )


if __name__ == "__main__":
    carried_out(main)

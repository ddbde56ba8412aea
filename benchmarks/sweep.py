"""A sweep of 24 small runs with joblib's two workers against the same jobs one after another.

One thread each, start-up included.

python benchmarks/sweep.py [--rounds 1] [--json FILE] [override ...]      (by default sweep=maml_widths scale=demo)
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from common import heading, options, written

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
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        return time.monotonic() - started, next(line for line in done.stdout.splitlines() if " jobs; " in line).split(
            ": ", 1
        )[1]


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
    main()

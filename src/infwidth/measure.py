"""An experiment that is made of measurements instead of training runs: carry out those that are missing. Used by infwidth.reproduce."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from infwidth.reporting.measurements import MEASUREMENTS
from infwidth.runs.spec import run_id
from infwidth.theory.experiment import Part
from infwidth.training import provenance
from infwidth.training.run_directory import RunDirectory

DECIDES_NUMBERS = False


def carry_out(parts: Sequence[Part], folder: Path, force: bool) -> None:
    """Each measurement into a folder of its own under ``folder``; one that is there is skipped unless ``force``."""
    for i, part in enumerate(parts):
        identity = run_id(part.deciding)
        directory = RunDirectory(folder / f"{part.name}-{identity}")
        with directory.locked():
            if directory.summary().get("status") == "finished" and not force:
                print(f"{part.name}: already finished, skipped ({directory.path}; force=true repeats it)", flush=True)
                continue
            directory.clear()
            directory.create({"deciding": part.deciding})
            started = time.monotonic()
            found = part.measure()
            directory.write_files(
                {MEASUREMENTS: lambda path, found=found: found.to_csv(path, index=False, lineterminator="\n")}
            )
            seconds = time.monotonic() - started
            directory.write_summary(
                {
                    "id": identity,
                    "name": folder.name,
                    "row": part.name,
                    "seed": 0,
                    "status": "finished",
                    "provenance": provenance.of_run(torch.device("cpu"), seconds),
                }
            )
            print(f"{part.name}: measured in {seconds:.0f} s, {directory.path} [{i + 1}/{len(parts)}]", flush=True)

"""An experiment that is made of measurements instead of training runs: carry out those that are missing.

Used by infwidth.reproduce.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from infwidth.reporting.measurements import MEASUREMENTS
from infwidth.runs.spec import run_id
from infwidth.theory.experiment import Part
from infwidth.training.memory import during
from infwidth.training.provenance import Starts
from infwidth.training.run_directory import RunDirectory

DECIDES_NUMBERS = False


def carry_out(parts: Sequence[Part], folder: Path, force: bool) -> None:
    """Each measurement into a folder of its own under ``folder``; one that is there is skipped unless ``force``."""
    for number, part in enumerate(parts, start=1):
        directory = RunDirectory(folder / f"{part.name}-{run_id(part.deciding)}")
        with directory.locked():
            if not force and directory.summary().get("status") == "finished":
                print(f"{part.name}: already finished, skipped ({directory.path}; force=true repeats it)", flush=True)
                continue
            seconds = _measured(part, directory)
            print(f"{part.name}: measured in {seconds:.0f} s, {directory.path} [{number}/{len(parts)}]", flush=True)


def _measured(part: Part, directory: RunDirectory) -> float:
    """Take a measurement anew; the seconds that it took."""
    directory.clear()
    directory.create({"deciding": part.deciding})
    starts = Starts(directory, torch.device("cpu"))
    with during(f"{part.name}: the measurement"):
        found = part.measure()
    directory.write_files({MEASUREMENTS: lambda path: found.to_csv(path, index=False, lineterminator="\n")})
    provenance = starts.summary()
    directory.write_summary(
        {
            "id": run_id(part.deciding),
            "name": directory.path.parent.name,
            "row": part.name,
            "seed": 0,
            "status": "finished",
            "provenance": provenance,
        }
    )
    return provenance["wall_seconds"]

"""An experiment that is made of measurements instead of training runs: carry out those that are missing.

Used by infwidth.reproduce.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from infwidth.job import keep_code, one_thread
from infwidth.replaying import where
from infwidth.reporting.measurements import MEASUREMENTS
from infwidth.runs.spec import run_id
from infwidth.theory.experiment import Part, TheoryRecipe, parts
from infwidth.training.memory import during
from infwidth.training.peak import Peak
from infwidth.training.provenance import Starts
from infwidth.training.run_directory import RunDirectory

DECIDES_NUMBERS = False

MODULES = ("infwidth.theory.experiment",)
"""What the numbers of a measurement come from, with what it imports."""


def carry_out(recipe: TheoryRecipe, scale: str, folder: Path, force: bool) -> None:
    """Each measurement of a scale into a folder of its own under ``folder``.

    One that is there is skipped unless ``force``.
    """
    wanted = parts(recipe, scale)
    for number, part in enumerate(wanted, start=1):
        directory = RunDirectory(folder / f"{part.name}-{run_id(part.deciding)}")
        with directory.locked():
            if not force and directory.summary().get("status") == "finished":
                print(f"{part.name}: already finished, skipped ({directory.path}; force=true repeats it)", flush=True)
                continue
            replay = {} if scale == "demo" else replay_record(recipe, part.name)
            seconds = _measured(part, directory, replay)
            print(f"{part.name}: measured in {seconds:.0f} s, {directory.path} [{number}/{len(wanted)}]", flush=True)


def replay_record(recipe: TheoryRecipe, name: str) -> dict[str, Any]:
    """What is kept of a measurement to replay it: its small instance, that of scale=demo, as the sum of each column."""
    (part,) = [part for part in parts(recipe, "demo") if part.name == name]
    with one_thread():
        table = part.measure().select_dtypes("number")
    finite = table.where(table.abs() < np.inf)
    return {"first": [], "losses": [], "metrics": {column: float(finite[column].sum()) for column in finite}, **where()}


def _measured(part: Part, directory: RunDirectory, replay: dict[str, Any]) -> float:
    """Take a measurement anew; the seconds that it took."""
    directory.clear()
    directory.create({"deciding": part.deciding})
    code = keep_code(MODULES, directory.path.parents[2])
    starts = Starts(directory, Peak(torch.device("cpu")), code)
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
            "fingerprint": keep_code(MODULES, directory.path.parents[2]),
            "replay": replay,
        }
    )
    return provenance["wall_seconds"]

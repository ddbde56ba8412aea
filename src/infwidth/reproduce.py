"""A published experiment: run the rows that are missing, then write its report.

`python -m infwidth.reproduce experiment=maml`
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from omegaconf import DictConfig

from infwidth import measure, report, train
from infwidth.command import command
from infwidth.config import key, load
from infwidth.errors import ConfigError, InfwidthError
from infwidth.places import EXPERIMENTS
from infwidth.reporting.page import Section
from infwidth.runs.compose import COMMANDS, composed, plain
from infwidth.runs.folders import folder_of_runs
from infwidth.runs.plan import Plan, Planned, keep, plan_of, read_recipe
from infwidth.theory import experiment as theory
from infwidth.training.logging import WandbReport
from infwidth.training.trainer import Interrupted


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """conf/command/reproduce.yaml"""

    experiment: str
    scale: Literal["demo", "cpu", "paper"]
    seeds: int | None = key(at_least=1)
    rows: tuple[str, ...] | None
    data: str | None
    force: bool
    overrides: tuple[str, ...]
    name: str | None = None


def carry_out(runs: Sequence[Planned], force: bool = False) -> list[str]:
    """Run them one after another; returns the messages of those that failed. A failed run does not stop the others."""
    failures, seconds = [], {}
    for i, planned in enumerate(runs):
        before = time.monotonic()
        try:
            train.run({**planned.config, "force": force})
        except Interrupted as e:
            raise Interrupted(f"{e} {i} of {len(runs)} runs are done.") from None
        except InfwidthError as e:
            failures.append(f"{planned.row} seed {planned.seed}: {e}")
            print(f"error: {failures[-1]}", file=sys.stderr, flush=True)
        seconds.setdefault(planned.row, []).append(time.monotonic() - before)
        left = _expected([other.row for other in runs[i + 1 :]], seconds)
        print(f"[{i + 1}/{len(runs)} runs, about {left / 60:.1f} min left]", flush=True)
    return failures


def _expected(rows: list[str], seconds: dict[str, list[float]]) -> float:
    """Seconds that runs of these rows will take: as long as their row took so far, or as the average row."""
    means = {row: sum(s) / len(s) for row, s in seconds.items()}
    average = sum(means.values()) / len(means)
    return sum(means.get(row, average) for row in rows)


def asked_for(chosen: ReproduceConfig) -> tuple[Plan, list[Planned]]:
    """The plan that is asked for, and its runs."""
    overrides = list(chosen.overrides)
    recipe = read_recipe(chosen.experiment)
    if chosen.data and chosen.data not in recipe.datasets:
        overrides.append(f"data={chosen.data}")  # another dataset than the recipe's: if it decides, a plan of its own
    plan = plan_of(chosen.experiment, overrides, chosen.name, chosen.scale, chosen.rows or ())
    more = [f"data={chosen.data}"] if chosen.data in recipe.datasets else []
    rows = chosen.rows or plan.rows_on(chosen.scale, chosen.data)
    return plan, plan.runs(chosen.scale, chosen.seeds, rows, [*more, *(() if plan.overrides else overrides)])


def reproduce(chosen: ReproduceConfig) -> list[str]:
    """Carry out the runs that are missing, and report; returns the messages of those that failed."""
    plan, runs = asked_for(chosen)
    folder_of_runs(runs[0].config["paths"]["results"], plan.name)  # refuses what is no folder
    if not plan.published:
        print(
            f"{' '.join(plan.overrides)} makes other runs than the published ones; they are named {plan.name} "
            "and have a table of their own.",
            flush=True,
        )
        results = Path(runs[0].config["paths"]["results"]) / plan.name
        results.mkdir(parents=True, exist_ok=True)
        keep(plan, results)
    failures = carry_out(runs, chosen.force)
    _reported(chosen, plan.name, runs[0].config)
    return [f"{len(failures)} of {len(runs)} runs failed: {'; '.join(failures)}"] if failures else []


def measured(chosen: ReproduceConfig) -> None:
    """Take the measurements that are missing, and report."""
    given = [name for name in ("seeds", "rows", "data") if getattr(chosen, name) is not None]
    if given:
        raise ConfigError(
            f"{given[0]} has no meaning for experiment {report.THEORY}: "
            f"what it measures is in experiments/{report.THEORY}/recipe.yaml."
        )
    common = composed("train", [f"scale={chosen.scale}", *chosen.overrides])
    recipe = theory.read_recipe(EXPERIMENTS / chosen.experiment)
    folder = folder_of_runs(common["paths"]["results"], chosen.experiment)  # refuses what is no folder
    measure.carry_out(recipe, chosen.scale, folder, chosen.force)
    _reported(chosen, chosen.experiment, common)


def _reported(chosen: ReproduceConfig, name: str, common: Mapping[str, Any]) -> None:
    """Write the report, print the table, and hand both to W&B; common: paths and logger are in it."""
    results = Path(common["paths"]["results"])
    section: Section = report.write(results, name)[name][0]
    with pd.option_context("display.width", 250):
        print(f"\n{section.table.to_string(index=False)}\n")
    if chosen.experiment == report.THEORY:
        print("\n".join(section.notes) + "\n")
    print(f"Table and figures are in {results / name}, the page is {results / 'index.html'}.")
    if common["logger"]["name"] == "wandb":
        run = WandbReport(common["logger"], results / "runs" / name, name, chosen.scale)
        run.log(section.table, section.figures, section.points)


@command(COMMANDS, "reproduce")
def main(config: DictConfig) -> None:
    chosen = load(ReproduceConfig, plain(config), "")
    try:
        failures = measured(chosen) if chosen.experiment == report.THEORY else reproduce(chosen)
    except Interrupted as e:
        print(e, file=sys.stderr, flush=True)
        sys.exit(130)
    if failures:
        raise InfwidthError(failures[0])


if __name__ == "__main__":
    main()

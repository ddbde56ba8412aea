"""A published experiment: run the rows that are missing, then write its report. `python -m infwidth.reproduce experiment=maml`"""

import copy
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import hydra
import pandas as pd
from omegaconf import DictConfig

from infwidth import measure, report, train
from infwidth.command import sentences
from infwidth.config import key, load
from infwidth.errors import ConfigError, InfwidthError
from infwidth.reporting.experiment import Recipe, read_recipe
from infwidth.reporting.page import Section
from infwidth.runs.compose import COMMANDS, composed, plain
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


def planned(chosen: ReproduceConfig, recipe: Recipe) -> list[dict[str, Any]]:
    """The configs of all runs, seed by seed, so that an early stop leaves whole seeds."""
    scale = getattr(recipe, chosen.scale)
    rows = chosen.rows or scale.rows or recipe.rows
    unknown = [r for r in rows if r not in recipe.rows]
    if unknown:
        raise ConfigError(
            f"rows has {unknown[0]!r}, which experiment {chosen.experiment} does not have; it has: {', '.join(recipe.rows)}."
        )
    common = [
        f"scale={chosen.scale}",
        f"force={str(chosen.force).lower()}",
        *([f"data={chosen.data}"] if chosen.data else []),
        *chosen.overrides,
    ]
    base = {row: composed("train", [f"experiment={chosen.experiment}/{row}", *common]) for row in rows}
    runs = []
    for seed, row in itertools.product(range(chosen.seeds or scale.seeds), rows):
        if seed and row in recipe.unseeded:
            continue
        candidates = base[row]["candidates"] if scale.candidates else {}
        for values in itertools.product(*candidates.values()):
            runs.append(_varied(base[row], {"seed": seed, **dict(zip(candidates, values, strict=True))}))
    return runs


def _varied(config: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A copy of the config with dotted keys set. ConfigError for a key that it does not have."""
    config = copy.deepcopy(config)
    for path, value in values.items():
        *groups, last = path.split(".")
        group = config
        for name in groups:
            group = group.get(name, {})
        if last not in group:
            raise ConfigError(f"candidates of row {config['row']} name the key {path}, which does not exist.")
        group[last] = value
    return config


def carry_out(runs: list[dict[str, Any]]) -> list[str]:
    """Run them one after another; returns the messages of those that failed. A failed run does not stop the others."""
    failures, seconds = [], {}
    for i, config in enumerate(runs):
        before = time.monotonic()
        try:
            train.run(config)
        except Interrupted as e:
            raise Interrupted(f"{e} {i} of {len(runs)} runs are done.") from None
        except InfwidthError as e:
            failures.append(f"{config['row']} seed {config['seed']}: {e}")
            print(f"error: {failures[-1]}", file=sys.stderr, flush=True)
        seconds.setdefault(config["row"], []).append(time.monotonic() - before)
        left = _expected([r["row"] for r in runs[i + 1 :]], seconds)
        print(f"[{i + 1}/{len(runs)} runs, about {left / 60:.1f} min left]", flush=True)
    return failures


def _expected(rows: list[str], seconds: dict[str, list[float]]) -> float:
    """Seconds that runs of these rows will take: as long as their row took so far, or as the average row."""
    means = {row: sum(s) / len(s) for row, s in seconds.items()}
    average = sum(means.values()) / len(means)
    return sum(means.get(row, average) for row in rows)


def reproduce(chosen: ReproduceConfig) -> list[str]:
    """Carry out the runs that are missing, and report; returns the messages of those that failed."""
    recipe = read_recipe(report.EXPERIMENTS / chosen.experiment)
    if recipe is None:
        known = ", ".join(sorted(p.parent.name for p in report.EXPERIMENTS.glob("*/recipe.yaml")))
        raise ConfigError(f"experiment {chosen.experiment!r} is not known; choose one of: {known}.")
    runs = planned(chosen, recipe)
    failures = carry_out(runs)
    _reported(chosen, runs[0])
    return [f"{len(failures)} of {len(runs)} runs failed: {'; '.join(failures)}"] if failures else []


def measured(chosen: ReproduceConfig) -> None:
    """Take the measurements that are missing, and report."""
    given = [name for name in ("seeds", "rows", "data") if getattr(chosen, name) is not None]
    if given:
        raise ConfigError(
            f"{given[0]} has no meaning for experiment {report.THEORY}: what it measures is in experiments/{report.THEORY}/recipe.yaml."
        )
    common = composed("train", [f"scale={chosen.scale}", *chosen.overrides])
    recipe = theory.read_recipe(report.EXPERIMENTS / chosen.experiment)
    measure.carry_out(
        theory.parts(recipe, chosen.scale),
        chosen.scale,
        Path(common["paths"]["results"]) / "runs" / chosen.experiment,
        chosen.force,
    )
    _reported(chosen, common)


def _reported(chosen: ReproduceConfig, common: dict[str, Any]) -> None:
    """Write the report, print the table, and hand both to W&B; common: paths and logger are in it."""
    results = Path(common["paths"]["results"])
    section: Section = report.write(results, chosen.experiment)[chosen.experiment]
    with pd.option_context("display.width", 250):
        print(f"\n{section.table.to_string(index=False)}\n")
    if chosen.experiment == report.THEORY:
        print("\n".join(section.notes) + "\n")
    print(f"Table and figures are in {results / chosen.experiment}, the page is {results / 'index.html'}.")
    if common["logger"]["name"] == "wandb":
        WandbReport(common["logger"], results / "runs" / chosen.experiment, chosen.experiment, chosen.scale).log(
            section.table, section.figures, section.points
        )


@hydra.main(config_path=COMMANDS, config_name="reproduce", version_base="1.3")
@sentences
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

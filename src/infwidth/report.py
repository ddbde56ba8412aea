"""Tables, figures and the report page from runs: `make report` or `python -m infwidth.report name=<experiment>`."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import hydra
from omegaconf import DictConfig

from infwidth.command import sentences
from infwidth.config import load
from infwidth.errors import DataError, OutputError
from infwidth.reporting import experiment, page, theory
from infwidth.reporting.measurements import KEPT
from infwidth.reporting.page import Section
from infwidth.reporting.records import ENDED, RUNS_CSV
from infwidth.runs.compose import COMMANDS, plain
from infwidth.runs.spec import PathsConfig
from infwidth.theory.experiment import read_recipe as read_theory_recipe

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
THEORY = "theory"
"""The experiment that is made of measurements instead of training runs."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """conf/command/report.yaml"""

    name: str | None
    readme: bool
    paths: PathsConfig


def experiments_in(results: Path) -> list[str]:
    """Names that have ended runs or measurements: local directories, or what is kept of them."""
    local = {p.name for p in (results / "runs").glob("*") if any(_ended(f) for f in p.glob("*/summary.json"))}
    return sorted(local | {p.parent.name for kept in (RUNS_CSV, KEPT) for p in results.glob(f"*/{kept}")})


def _ended(summary: Path) -> bool:
    try:
        return json.loads(summary.read_text())["status"] in ENDED
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write(results: Path, name: str | None = None) -> dict[str, Section]:
    """Report all experiments that have ended runs, by name, and the page. What is wrong with one is said and does not
    keep the others from being reported; raises DataError only if it is ``name``, the one asked for."""
    names = experiments_in(results)
    if name is not None and name not in names:
        raise DataError(
            f"there are no finished runs named {name} in {results}; there are: {', '.join(names) or 'none'}."
        )
    sections = {}
    try:
        for n in names:
            try:
                sections[n] = _section(n, results)
            except DataError as e:
                if name in (None, n):
                    raise
                print(f"warning: {n} is left out of the page: {e}", file=sys.stderr)
        page.write(results / "index.html", list(sections.values()))
    except OSError as e:
        raise OutputError(
            f"the report cannot be written to {e.filename} ({e.strerror}); make room or make the folder writable."
        ) from e
    return sections


def _section(name: str, results: Path) -> Section:
    folder = EXPERIMENTS / name
    if name == THEORY:
        recipe = read_theory_recipe(folder)
        return theory.report(name, recipe.title, recipe.claim, results, lambda commit: False)
    if (folder / "recipe.yaml").exists():
        return experiment.report(name, folder, results, lambda *of: False)
    return experiment.report_sweep(name, results)


def update_readme(readme: Path, results: Path) -> None:
    """Put each experiment's table.md (without its title) between its markers ``<!-- table: name -->`` and ``<!-- end -->``."""
    text = readme.read_text()
    for name in experiments_in(results):
        table = (results / name / "table.md").read_text().split("\n", 2)[2]
        text = re.sub(
            rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)",
            lambda m, t=table: f"{m[1]}\n{t}\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
    readme.write_text(text)


@hydra.main(config_path=COMMANDS, config_name="report", version_base="1.3")
@sentences
def main(config: DictConfig) -> None:
    chosen = load(ReportConfig, plain(config), "")
    results = Path(chosen.paths.results)
    for name, section in write(results, chosen.name).items():
        if chosen.name in (None, name):
            print(f"{section.title}\n\n{section.table.to_string(index=False)}\n")
    if chosen.readme:
        update_readme(EXPERIMENTS.parent / "README.md", results)
    print(f"The report page is {results / 'index.html'}.")


if __name__ == "__main__":
    main()

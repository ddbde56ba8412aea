"""Tables, figures and the report page from runs: `make report` or `python -m infwidth.report name=<experiment>`."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from infwidth.command import command
from infwidth.config import load
from infwidth.errors import DataError, OutputError
from infwidth.places import EXPERIMENTS
from infwidth.reporting import experiment, page, sweep, theory
from infwidth.reporting.page import Section
from infwidth.runs import plan, standing, store
from infwidth.runs.compose import COMMANDS, plain
from infwidth.runs.folders import PathsConfig
from infwidth.theory.experiment import read_recipe as read_theory_recipe

DECIDES_NUMBERS = False

THEORY = "theory"
"""The experiment that is made of measurements instead of training runs."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """conf/command/report.yaml"""

    name: str | None
    readme: bool
    paths: PathsConfig


def write(results: Path, name: str | None = None) -> dict[str, list[Section]]:
    """Report all experiments that have ended runs, by name, and the page. What is wrong with one is said and does not
    keep the others from being reported; raises DataError only if it is ``name``, the one asked for."""
    names = store.names(results)
    if name is not None and name not in names:
        raise DataError(
            f"there are no finished runs named {name} in {results}; there are: {', '.join(names) or 'none'}."
        )
    sections: dict[str, list[Section]] = {}
    try:
        for n in names:
            try:
                sections[n] = _sections(n, results)
            except DataError as e:
                if name in (None, n):
                    raise
                print(f"warning: {n} is left out of the page: {e}", file=sys.stderr)
        page.write(results / "index.html", [section for found in sections.values() for section in found])
    except OSError as e:
        raise OutputError(
            f"the report cannot be written to {e.filename} ({e.strerror}); make room or make the folder writable."
        ) from e
    return sections


def _sections(name: str, results: Path) -> list[Section]:
    marked = standing.marker(results, name)
    if name == THEORY:
        section, records = theory.report(name, read_theory_recipe(EXPERIMENTS / name), results, marked)
        standing.keep(records, results, name)
        return [section]
    planned = plan.kept(name, results)
    if planned is None:
        return [sweep.report(name, results)]
    sections, records = experiment.report(planned, results, marked)
    standing.keep(records, results, name)
    return sections


def update_readme(readme: Path, results: Path) -> None:
    """Put each experiment's table.md (without its title) between its markers.

    The markers are ``<!-- table: name -->`` and ``<!-- end -->``.
    """
    text = readme.read_text(encoding="utf-8")
    for name in store.names(results):
        table = (results / name / "table.md").read_text(encoding="utf-8").split("\n", 2)[2]
        begin = rf"(<!-- table: {re.escape(name)} -->\n)"
        text = re.sub(rf"{begin}.*?(<!-- end -->)", lambda m, t=table: f"{m[1]}\n{t}\n{m[2]}", text, flags=re.DOTALL)
    readme.write_text(text, encoding="utf-8")


@command(COMMANDS, "report")
def main(config: DictConfig) -> None:
    chosen = load(ReportConfig, plain(config), "")
    results = Path(chosen.paths.results)
    for name, sections in write(results, chosen.name).items():
        for section in sections if chosen.name in (None, name) else ():
            print(f"{section.title}\n\n{section.table.to_string(index=False)}\n")
    if chosen.readme:
        update_readme(EXPERIMENTS.parent / "README.md", results)
    print(f"The report page is {results / 'index.html'}.")


if __name__ == "__main__":
    main()

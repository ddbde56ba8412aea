"""Tables, figures and the report page from runs: `make report` or `python -m infwidth.report name=<experiment>`."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from infwidth.command import command
from infwidth.config import load
from infwidth.errors import DataError, InfwidthError, OutputError
from infwidth.places import EXPERIMENTS
from infwidth.reporting import benchmarks, experiment, page, sweep, table, takes, theory
from infwidth.reporting.claims import book as claims_book
from infwidth.reporting.claims import show
from infwidth.reporting.page import Opening, Section
from infwidth.runs import plan, standing, store
from infwidth.runs.compose import COMMANDS, plain
from infwidth.runs.folders import PathsConfig
from infwidth.theory.experiment import read_recipe as read_theory_recipe

DECIDES_NUMBERS = False

THEORY = "theory"
"""The experiment that is made of measurements instead of training runs."""

CLAIMS, TAKES, BENCHMARKS = "claims.md", "takes.md", "benchmarks"
"""Beside the page: what it opens with, and the folder of the benchmarks."""

MARKERS = r"(?P<begin><!-- table: (?P<name>\w+) -->\n).*?(?P<end><!-- end -->)"


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
        _write_benchmarks(results / BENCHMARKS)
        openings = _openings(results, may_fail=name is not None)
        page.write(results / "index.html", [section for found in sections.values() for section in found], openings)
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


def _openings(results: Path, may_fail: bool) -> list[Opening]:
    """What became of the papers' claims and what the experiments took, written beside the page too; nothing for results
    that no claim is about, such as those of a demo.

    may_fail: whether what is wrong with a claim is only said, since something else was asked for.
    """
    try:
        books = claims_book.books(results)
        if not any(book.there for book in books):
            return []
        verdicts = [verdict for book in books for verdict in book.verdicts()]
    except InfwidthError as e:
        if not may_fail:
            raise
        print(f"warning: the claims are left out of the page: {e}", file=sys.stderr)
        return []
    took = takes.table(results)
    (results / CLAIMS).write_text(show.markdown(verdicts), encoding="utf-8")
    (results / TAKES).write_text(f"# {takes.TITLE}\n\n{table.markdown(took)}\n{takes.EXPLAINED}\n", encoding="utf-8")
    return [
        Opening(show.TITLE, show.full(verdicts), f"{show.summary(verdicts)} {show.EXPLAINED}"),
        Opening(takes.TITLE, took, takes.EXPLAINED),
    ]


def _write_benchmarks(folder: Path) -> None:
    """Their table, beside the numbers that are kept of them, if there are some."""
    if folder.is_dir():
        found = table.markdown(benchmarks.table(folder))
        text = f"# {benchmarks.TITLE}\n\n{found}\n{benchmarks.hardware(folder)}\n"
        (folder / "table.md").write_text(text, encoding="utf-8")


def update_readme(readme: Path, results: Path) -> None:
    """Put what is generated between its markers: ``<!-- table: name -->`` and ``<!-- end -->``."""
    readme.write_text(updated(readme.read_text(encoding="utf-8"), results), encoding="utf-8")


def updated(text: str, results: Path) -> str:
    """A README with what is between its markers as it is in the results: of a name that has a table there."""

    def between(found: re.Match) -> str:
        generated = _generated(found["name"], results)
        return found[0] if generated is None else f"{found['begin']}\n{generated}\n{found['end']}"

    return re.sub(MARKERS, between, text, flags=re.DOTALL)


def _generated(name: str, results: Path) -> str | None:
    """table.md of an experiment, or claims.md or takes.md, without its title and what comes below the table of claims;
    None if there is none."""
    found = [path for path in (results / name / "table.md", results / f"{name}.md") if path.exists()]
    if not found:
        return None
    return found[0].read_text(encoding="utf-8").split("\n", 2)[2].partition(f"\n{show.NUMBERS}")[0]


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

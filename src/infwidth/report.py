"""Tables, figures and the report page from runs: `make report` or `python -m infwidth.report name=<experiment>`."""

import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import hydra
from omegaconf import DictConfig

from infwidth.command import COMMANDS, plain, sentences
from infwidth.config import load
from infwidth.errors import DataError, OutputError
from infwidth.reporting import experiment, page
from infwidth.reporting.page import Section
from infwidth.reporting.records import RUNS_CSV
from infwidth.train import PathsConfig

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """conf/report.yaml"""

    name: str | None
    readme: bool
    paths: PathsConfig


PRESENTATION = (
    "src/infwidth/reporting",
    "src/infwidth/report.py",
    "src/infwidth/reproduce.py",
    "src/infwidth/prepare.py",
    "conf/command",
)
"""Paths in src and conf that cannot change a run's numbers."""


@functools.cache
def outdated(commit: str) -> bool:
    """Whether what decides numbers in src/ or conf/ differs between a commit and the working tree, or the commit is not known here."""
    command = [
        "git",
        "diff",
        "--quiet",
        commit.rstrip("+"),
        "--",
        ":/src",
        ":/conf",
        *(f":(top,exclude){path}" for path in PRESENTATION),
    ]
    try:
        return (
            commit.endswith("+")
            or subprocess.run(command, cwd=EXPERIMENTS, capture_output=True, check=False).returncode != 0
        )
    except OSError:
        return True


def experiments_in(results: Path) -> list[str]:
    """Names that have runs: local directories or a runs.csv."""
    local = {p.name for p in (results / "runs").glob("*") if any(p.glob("*/summary.json"))}
    return sorted(local | {p.parent.name for p in results.glob(f"*/{RUNS_CSV}")})


def write(results: Path, name: str | None = None) -> dict[str, Section]:
    """Report all experiments that have runs, by name. DataError if ``name`` is given and not among them."""
    names = experiments_in(results)
    if name is not None and name not in names:
        raise DataError(f"there are no runs named {name} in {results}; there are: {', '.join(names) or 'none'}.")
    try:
        sections = {
            n: experiment.report(n, EXPERIMENTS / n, results, outdated)
            if (EXPERIMENTS / n / "recipe.yaml").exists()
            else experiment.report_sweep(n, results)
            for n in names
        }
        page.write(results / "index.html", list(sections.values()))
    except OSError as e:
        raise OutputError(
            f"the report cannot be written to {e.filename} ({e.strerror}); make room or make the folder writable."
        ) from e
    return sections


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

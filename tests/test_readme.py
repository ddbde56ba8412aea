"""What is committed of results agrees with itself: README with the tables, and the tables with the runs.

Edited by hand, a generated part of README or of results fails here: `python -m infwidth.report readme=true` makes them.
Marks are taken as they were when the tables were made: whether code has changed since is for the next report to say.
"""

import re

import pandas as pd
import pytest

from infwidth import report
from infwidth.reporting import benchmarks, table, takes
from infwidth.reporting.claims import show
from infwidth.reporting.claims.book import OfRows, books
from infwidth.reporting.claims.claim import SCALES
from infwidth.runs import plan as plans
from tests.conftest import REPOSITORY

RESULTS = REPOSITORY / "results"
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
OF_EXPERIMENTS = sorted((REPOSITORY / "experiments").glob("*/README.md"))
TABLES = sorted(path.parent.name for path in RESULTS.glob("*/table.csv"))


def marked_in_claims():
    """The (experiment, scale, row or part) that claims.md marks."""
    found = set()
    for part in (RESULTS / "claims.md").read_text(encoding="utf-8").split("\n**")[1:]:
        name = re.search(r"; (\w+)\)\n", part)[1]
        for scale, rows in re.findall(rf"- scale (\w+).*{table.MARK} ([^:]+): the code has changed", part):
            found.update((name, scale, row) for row in rows.split(", "))
    return found


def as_in_claims(book, marked):
    """A function that says of a record of a book whether claims.md marks its row."""

    def places(record):
        if isinstance(book, OfRows):
            return [(scale, row) for scale, row, _ in book.plan.members(record.config)]
        return [(scale, record.row) for scale in SCALES]

    return lambda record: any((book.experiment, *place) in marked for place in places(record))


@pytest.fixture(scope="module")
def claims():
    """The claims of every experiment beside its committed runs, marked as claims.md marks them."""
    marked = marked_in_claims()
    return [type(book)(book.experiment, RESULTS, as_in_claims(book, marked)) for book in books(RESULTS)]


def test_readme_is_as_it_is_generated():
    assert report.updated(README, RESULTS) == README
    names = {found["name"] for found in re.finditer(report.MARKERS, README, re.DOTALL)}
    assert {"claims", "takes", "benchmarks", *TABLES} <= names


@pytest.mark.parametrize("name", ["claims", "takes", "benchmarks", *TABLES])
def test_an_edit_by_hand_would_be_seen(name):
    """Of any digit between the markers."""
    at = README.index("\n", README.index(f"<!-- table: {name} -->"))
    number = re.compile(r"\d").search(README, at)
    other = str(9 - int(number[0]))
    edited = README[: number.start()] + other + README[number.end() :]
    assert number.start() < README.index("<!-- end -->", at) and report.updated(edited, RESULTS) == README


def test_verdicts_are_those_of_the_committed_runs(claims):
    found = [verdict for book in claims for verdict in book.verdicts()]
    assert show.markdown(found) == (RESULTS / "claims.md").read_text(encoding="utf-8")


def test_times_and_memory_are_those_of_the_committed_runs():
    text = (RESULTS / "takes.md").read_text(encoding="utf-8")
    assert text == f"# {takes.TITLE}\n\n{table.markdown(takes.table(RESULTS))}\n{takes.EXPLAINED}\n"


def test_the_table_of_the_benchmarks_is_that_of_their_numbers():
    text = (RESULTS / "benchmarks" / "table.md").read_text(encoding="utf-8")
    assert table.markdown(benchmarks.table(RESULTS / "benchmarks")) in text


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_that_of_the_committed_runs(name, claims):
    text = (RESULTS / name / "table.md").read_text(encoding="utf-8")
    book = next((book for book in claims if book.experiment == name), None) or OfRows(name, RESULTS)
    paper = table.read_paper(plans.EXPERIMENTS / name / "paper.csv")
    labels = dict(zip(paper.row, paper.label, strict=True))
    lines, _ = table.lines(book.records, book.plan, lambda record: f"| {labels[record.row]} {table.MARK} |" in text)
    built = table.build(lines, paper)
    shown = table.display(built, lines, labels, book.plan.recipe.columns)
    assert table.markdown(shown) in text
    kept = pd.read_csv(RESULTS / name / "table.csv", dtype={"width": str})
    assert list(kept["mean"].dropna()) == pytest.approx(list(built["mean"].dropna().astype(float)), abs=6e-4)


def prose(text):
    """A text without what is generated, without code and links, line by line."""
    text = re.sub(report.MARKERS, "", text, flags=re.DOTALL)
    text = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", text)
    return [line for line in text.splitlines() if not line.startswith("    ")]


def test_prose_about_results_quotes_none():
    """A number that is typed goes wrong in silence: results are said by the tables alone."""
    result = re.compile(r"\d\.\d|\d ?(points?|%)|± ?\d")
    for title in ("What holds", "Results"):
        section = README.split(f"\n## {title}\n")[1].split("\n## ")[0]
        assert [line for line in prose(section) if result.search(line)] == []


@pytest.mark.parametrize("path", [REPOSITORY / "README.md", *OF_EXPERIMENTS], ids=lambda path: path.parent.name)
def test_nobody_types_what_an_experiment_takes(path):
    """results/takes.md and `make verify` say it, from the runs."""
    lines = path.read_text(encoding="utf-8").splitlines()
    about = [line for line in lines if "reproduce" in line or line.startswith("**SCALE")]
    times = re.compile(r"\b(\d+|an|a|half an) ?(minutes?|min|hours?|h|seconds?)\b|\d GiB|(twenty|about) minutes")
    assert [line for line in about if times.search(line)] == []

"""The page opens with the verdicts and with what the experiments took."""

import json

import pytest

from infwidth import report
from infwidth.errors import ConfigError, DataError
from infwidth.reporting import benchmarks
from tests.reporting.claims import helpers
from tests.reporting.claims.helpers import record


@pytest.fixture
def results(tmp_path, monkeypatch):
    helpers.experiment(tmp_path, monkeypatch)
    fingerprint = helpers.code_of_today(tmp_path / "results")
    made = [record("width_2", seed, 55.0 + seed / 10, fingerprint=fingerprint) for seed in (0, 1)]
    helpers.write(tmp_path / "results", [*made, record("width_8", 0, 64.0, fingerprint=fingerprint)])
    return tmp_path / "results"


def test_the_page_opens_with_verdicts_and_costs(results):
    report.write(results)
    page = (results / "index.html").read_text()
    verdicts, costs, section = (page.index(t) for t in ("What the papers claim", "What each experiment takes", "<h2>x"))
    assert verdicts < costs < section and "<td>Wider is better.</td>" in page and "1 claims: 1 PASS, 0 FAIL" in page
    assert "| maml | Wider is better. | paper | PASS |" in (results / "claims.md").read_text()
    assert "| maml | paper | 2 of 3 | 3 | 3 min | 60 s | 1.0 GiB |" in (results / "takes.md").read_text()


def test_the_pages_command_names_seeds_only_where_they_are_not_the_planned(results):
    report.write(results)
    assert "<pre>make reproduce-maml SCALE=paper</pre>" in (results / "index.html").read_text()
    helpers.write(results, [record("width_2", seed, 55.0) for seed in range(3)])
    report.write(results)
    assert "<pre>make reproduce-maml SCALE=paper SEEDS=3</pre>" in (results / "index.html").read_text()


def test_readme_gets_the_table_of_the_claims_and_not_the_numbers(results):
    report.write(results)
    text = "a\n<!-- table: claims -->\nold\n<!-- end -->\nb\n<!-- table: unknown -->\nstays\n<!-- end -->\n"
    found = report.updated(text, results)
    assert "| maml | Wider is better. | paper | PASS |" in found and "1 claims: 1 PASS" in found
    assert (
        "95 % interval [" not in found and "old" not in found and "stays" in found and found.endswith("<!-- end -->\n")
    )
    assert report.updated(found, results) == found


def test_a_demo_says_nothing_of_the_claims(tmp_path, monkeypatch):
    helpers.experiment(tmp_path, monkeypatch)
    helpers.write(tmp_path / "results", [record("width_2", 0, 55.0, "demo")])
    report.write(tmp_path / "results")
    assert "What the papers claim" not in (tmp_path / "results" / "index.html").read_text()
    assert not (tmp_path / "results" / "claims.md").exists()


def test_a_wrong_claim_is_an_error_of_a_report_and_a_warning_beside_a_run(results, capsys):
    (results.parent / "maml" / "claims.yaml").write_text("claims: 3")
    with pytest.raises(ConfigError, match="claims must be a list"):
        report.write(results)
    assert report.write(results, "maml") and "the claims are left out of the page: " in capsys.readouterr().err


def test_benchmarks_have_a_table(results):
    report.write(results)
    assert not (results / "benchmarks").exists()
    (results / "benchmarks").mkdir()
    seconds = {"joblib, 2 workers": 40.0, "sequential": 80.0}
    path = results / "benchmarks" / "sweep.json"
    path.write_text(json.dumps({"hardware": "2 threads of a CPU", "seconds": seconds}))
    report.write(results)
    text = (results / "benchmarks" / "table.md").read_text()
    assert "| a sweep by two workers | 40 s | one after another | 80 s | 2 |" in text
    assert "Measured on 2 threads of a CPU." in text
    path.write_text('{"hardware": "x"}')
    with pytest.raises(DataError, match="sweep.json cannot be read .*make bench-sweep"):
        benchmarks.table(results / "benchmarks")

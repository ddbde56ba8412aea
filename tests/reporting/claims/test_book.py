"""What the runs that there are say of a claim: PASS, FAIL, or NOT RUN and what is missing."""

import json

import pytest

from infwidth.errors import DataError
from infwidth.reporting.claims import show
from infwidth.reporting.claims.book import OfRows
from infwidth.reporting.claims.costs import Prediction, read, write
from infwidth.reporting.claims.verdict import FAIL, NOT_RUN, PASS
from tests.reporting.claims import helpers
from tests.reporting.claims.helpers import CLAIM, record


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that makes an experiment with claims and records, and gives its claims."""

    def make(records, claims=helpers.CLAIMS, marked=lambda r: False, **more):
        helpers.experiment(tmp_path, monkeypatch, claims, **more)
        helpers.write(tmp_path / "results", records)
        return OfRows("maml", tmp_path / "results", marked)

    helpers.experiment(tmp_path, monkeypatch)
    return make


def runs(scale="paper", data="Omniglot", narrow=(55.0, 55.1), wide=64.0):
    return [
        *(record("width_2", seed, value, scale, data) for seed, value in enumerate(narrow)),
        record("width_8", 0, wide, scale, data),
    ]


def test_a_claim_passes_by_the_runs_of_its_scale(made):
    (verdict,) = made(runs()).verdicts()
    assert verdict.word == PASS and show.verdict(verdict) == "PASS"
    said = show.details(verdict)
    assert (
        said[0] == "scale paper, Omniglot, 1 to 2 seeds; the interval is over the examples of the test; of one "
        "seed, the spread over seeds is not in it"
    )
    assert "width 8 minus width 2: 8.95 points, 95 % interval [" in said[1] and said[-1].startswith("takes: 3 min rec")


def test_a_claim_fails_with_its_reason(made):
    claims = [{**helpers.CLAIMS[0], "reason": "it was Monday"}]
    (verdict,) = made(runs(wide=40.0), claims).verdicts()
    assert verdict.word == FAIL and show.verdict(verdict) == "FAIL: it was Monday"
    (verdict,) = made(runs(wide=55.5), claims).verdicts()
    assert verdict.word == FAIL and show.verdict(verdict) == "FAIL (undecided): it was Monday"
    (verdict,) = made(runs(), claims).verdicts()
    assert "Monday" not in show.verdict(verdict) + str(show.details(verdict))


def test_a_claim_with_missing_rows_or_seeds_is_not_run(made):
    (verdict,) = made(runs()[:1]).verdicts()
    assert verdict.word == NOT_RUN and verdict.outcome.lacking == {"width_2": "1 of 2 seeds", "width_8": ""}
    assert show.details(verdict)[0] == "scale paper, Omniglot: not there: width_2 (1 of 2 seeds), width_8"


def test_a_marked_row_counts_as_not_run(made):
    (verdict,) = made(runs(), marked=lambda r: r.row == "width_8").verdicts()
    assert verdict.word == NOT_RUN and verdict.outcome.marked == ["width_8"] and not verdict.outcome.findings
    assert show.verdict(verdict) == "NOT RUN (†)" and "† width_8: the code has changed" in show.details(verdict)[0]


def test_a_smaller_scale_is_said_beside_and_does_not_count(made):
    (verdict,) = made(runs("cpu")).verdicts()
    assert verdict.word == NOT_RUN and show.verdict(verdict) == "NOT RUN; at cpu: holds"
    (verdict,) = made(runs("cpu", wide=40.0)).verdicts()
    assert show.verdict(verdict) == "NOT RUN; at cpu: does not hold"
    (verdict,) = made(runs("cpu"), [{**CLAIM, "ordered": {"rows": ["width_2", "width_8"]}}]).verdicts()
    assert show.verdict(verdict) == "NOT RUN"
    (verdict,) = made(runs("cpu"), marked=lambda r: True).verdicts()
    assert show.verdict(verdict) == "NOT RUN; at cpu: †"
    assert show.details(verdict)[-1].startswith("scale cpu, Omniglot: † width_2, width_8: the code has changed")
    (verdict,) = made(runs("cpu")[:2]).verdicts()
    assert verdict.beside is None


def test_data_that_stand_in_for_the_papers_are_named(made):
    (verdict,) = made(runs(data="Omniglot (copies)")).verdicts()
    assert show.verdict(verdict) == "PASS on Omniglot (copies)"
    (verdict,) = made([*runs(data="Omniglot (copies)"), *runs(wide=40.0)]).verdicts()
    assert show.verdict(verdict) == "FAIL"  # on the paper's own, which are preferred
    (verdict,) = made([*runs(data="Omniglot (copies)"), *runs()[:1]]).verdicts()
    assert show.verdict(verdict) == "PASS on Omniglot (copies)"  # of which there is more


def test_a_diverged_seed_never_holds(made):
    diverged = [*runs()[:2], record("width_8", 0, None, status="diverged")]
    claims = [{**CLAIM, "at_least": {"rows": ["width_8"], "value": 0}}, {**helpers.CLAIMS[0]}]
    for verdict in made(diverged, claims).verdicts():
        assert verdict.word == FAIL and not verdict.outcome.undecided
        assert any("diverged" in line for line in show.details(verdict))


def test_rows_that_are_alike_lend_their_spread(made):
    claims = [{**CLAIM, "within": {"rows": ["width_8"], "points": 5}}]
    wide = made(runs(narrow=(50.0, 60.0)), claims, alike=[["width_2", "width_8"]]).verdicts()[0]
    assert wide.word == FAIL and wide.outcome.undecided and not wide.outcome.note
    narrow = made(runs(narrow=(50.0, 60.0)), claims).verdicts()[0]
    assert narrow.word == PASS and "of one seed" in narrow.outcome.note


def test_a_metric_without_a_standard_error_is_missing(made):
    without = record("width_8", 0, 64.0)
    del without.metrics["test/accuracy_standard_error"]
    (verdict,) = made([*runs()[:2], without]).verdicts()
    assert verdict.word == NOT_RUN and "no accuracy with a standard error" in verdict.outcome.lacking["width_8"]


def test_questions_make_a_standard_error(made):
    asked = [record(r.row, r.seed, r.metrics["test/accuracy"]) for r in runs()]
    for r in asked:
        del r.metrics["test/accuracy_standard_error"]
        r.metrics["test/questions"] = 2400.0
    (verdict,) = made(asked, [{**CLAIM, "at_least": {"rows": ["width_8"], "value": 0}}]).verdicts()
    (finding,) = verdict.outcome.findings
    assert finding.estimate.mean - finding.estimate.low == pytest.approx(1.959964 * (64 * 36 / 2400) ** 0.5)


def test_a_picture_that_is_not_kept_is_missing(made):
    claims = [{**CLAIM, "separated": {"panel": "the limit", "others": ["the limit"]}}]
    (verdict,) = made([record("mu_limit", seed, 60.0) for seed in (0, 1)], claims).verdicts()
    assert verdict.outcome.lacking == {"mu_limit": "its picture is not kept"}


def test_a_check_that_finds_nothing_to_check_is_an_error(made):
    """It would hold whatever was measured."""
    with pytest.raises(DataError, match="finds nothing to check"):
        made(runs(), [{**CLAIM, "ordered": {"rows": ["width_2"]}}]).verdicts()
    with pytest.raises(DataError, match="finds nothing to check"):
        made(runs(), [{**CLAIM, "ordered": {"rows": []}}]).verdicts()


def test_an_order_that_was_compared_question_by_question_is_taken(made, tmp_path):
    close = runs(narrow=(55.0, 55.1), wide=55.6)
    claims = [{**CLAIM, "ordered": {"rows": ["width_2", "width_8"], "tolerance": 0.3}}]
    assert made(close, claims).verdicts()[0].word == FAIL
    compared = {"worse": "width_2", "better": "width_8", "difference": 0.6, "low": 0.4, "high": 0.8}
    kept = {"runs": [close[0].id], "content": [{**compared, "questions": 9, "seeds": 1}]}
    (tmp_path / "results/maml/order.json").write_text(json.dumps(kept))
    assert made(close, claims).verdicts()[0].word == PASS


def test_costs_are_recorded_or_predicted_or_estimated_by_hand(made, tmp_path):
    claims = [{**CLAIM, "within": {"rows": ["width_2", "width_8"], "points": 1}}]
    rows_of = {"rows": ["width_2", "mu_limit"], "tolerance": 1}
    claims.append({**CLAIM, "claim": "y", "ordered": rows_of})
    guess = {"mu_limit": {"paper": {"hours": 2, "gibibytes": 40, "device": "a GPU"}}}
    takes = [verdict.takes for verdict in made(runs()[:1], claims, guesses=guess).verdicts()]
    assert takes[0] == "2 min recorded, 1.0 GiB; not known: width_8"  # two seeds of width 2, as one took
    assert takes[1] == "2 min recorded, 1.0 GiB; 4.0 h on a GPU, estimated by hand, 40.0 GiB"
    write(tmp_path / "results/maml", [Prediction("width_8", "paper", 7200.0, 2**28, 2**29, "a CPU")])
    takes = [verdict.takes for verdict in made(runs()[:1], claims, guesses=guess).verdicts()]
    assert takes[0] == "2 min recorded, 1.0 GiB; 2.0 h of training predicted, 0.2 GiB, 0.5 GiB of disk"


def test_predictions_are_kept_and_a_damaged_file_is_named(tmp_path):
    both = [Prediction("b", "paper", 1.5, 2, 3, "a, b"), Prediction("a", "cpu", 1.0, 2, 3, "c")]
    write(tmp_path, both)
    assert list(read(tmp_path).values()) == both[::-1] and read(tmp_path / "none") == {}
    (tmp_path / "predictions.csv").write_text("row,scale\na,cpu\n")
    with pytest.raises(DataError, match="predictions.csv cannot be read"):
        read(tmp_path)


def test_the_table_has_every_claim_and_the_numbers_are_below(made):
    verdicts = made(runs()).verdicts()
    text = show.markdown(verdicts)
    table, numbers = text.split(show.NUMBERS)
    assert "| maml | Wider is better. | paper | PASS |" in table and "1 claims: 1 PASS, 0 FAIL, 0 NOT RUN." in table
    assert "**PASS** Wider is better. (a paper; maml)" in numbers and "width 8 minus width 2: 8.95" in numbers
    frame = show.full(verdicts)
    assert list(frame.columns) == ["experiment", "claim", "source", "scale", "verdict", "takes", "numbers"]

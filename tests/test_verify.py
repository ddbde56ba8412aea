"""The command that says what became of the papers' claims, and runs what is missing."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from infwidth import reproduce, verify
from infwidth.errors import ConfigError, DataError
from infwidth.reporting.claims import book as claims_book
from infwidth.reporting.claims import costs
from infwidth.reporting.claims.costs import Prediction
from infwidth.training.resources import Predicted, PredictedPeak
from tests.commands import command
from tests.conftest import REPOSITORY
from tests.reporting.claims import helpers
from tests.reporting.claims.helpers import CLAIM, record

CHOSEN = {
    "name": None,
    "strict": False,
    "run": False,
    "predict": False,
    "hours": None,
    "data": None,
    "overrides": ("logger=none",),
}


@pytest.fixture
def chosen(tmp_path, monkeypatch):
    helpers.experiment(
        tmp_path,
        monkeypatch,
        [
            {**CLAIM, "claim": "long", "at_least": {"rows": ["mu_limit"], "value": 1}},
            {**CLAIM, "claim": "short", "ordered": {"rows": ["width_2", "width_8"]}},
            {**CLAIM, "claim": "marked", "at_least": {"rows": ["width_2"], "value": 1}},
        ],
    )
    results = tmp_path / "results"
    helpers.write(results, [record("width_2", seed, 55.0) for seed in (0, 1)])
    paths = verify.PathsConfig(results=str(results))
    return verify.VerifyConfig(**CHOSEN, paths=paths)


def test_what_is_missing_is_said_the_shortest_first_each_row_once(chosen, capsys):
    hours = {"mu_limit": 3.0, "width_8": 0.5}
    kept = [Prediction(row, "paper", 3600 * h, 2**30, 0, "a CPU") for row, h in hours.items()]
    (book,) = verify.books(chosen)
    costs.write(book.folder, kept)
    wanted = verify.missing(verify.books(chosen))
    assert [m.verdict.claim.claim for m in wanted] == ["short", "long"]
    assert [m.seconds for m in wanted] == [1800, 2 * 3 * 3600]  # two seeds of the limit
    assert [m.verdict.claim.claim for m in verify.missing(verify.books(chosen), hours=1)] == ["short"]
    verify.say_costs([*wanted, *wanted])
    assert "In all, each row once: 6.5 h of training predicted, 1.0 GiB." in capsys.readouterr().out


def test_only_what_is_missing_is_run_and_nothing_twice(chosen, monkeypatch):
    done = []
    monkeypatch.setattr(reproduce, "carry_out", lambda runs: done.extend(runs) or [])
    assert verify.run(verify.missing(verify.books(chosen)), chosen) == []
    assert sorted((run.row, run.seed) for run in done) == [("mu_limit", 0), ("mu_limit", 1), ("width_8", 0)]
    assert {run.config["paths"]["results"] for run in done} == {chosen.paths.results}
    assert {run.config["logger"]["name"] for run in done} == {"none"} and {run.config["scale"] for run in done} == {
        "paper"
    }


def test_a_row_that_is_marked_is_for_replay_and_not_run_again(chosen, monkeypatch):
    words = {verdict.claim.claim: verdict for verdict in verify.books(chosen)[0].verdicts()}
    assert words["marked"].outcome.marked == ["width_2"] and not words["marked"].outcome.lacking
    assert "marked" not in [m.verdict.claim.claim for m in verify.missing(verify.books(chosen))]


def test_overrides_that_decide_numbers_are_refused(chosen):
    other = dataclasses.replace(chosen, overrides=("trainer.epochs=1",))
    with pytest.raises(ConfigError, match="overrides has trainer.epochs=1, which makes other runs of maml"):
        verify.run(verify.missing(verify.books(other)), other)


def job(state, peak, seconds, every=5):
    """What verify reads of a run that is ready."""
    found = Predicted(state, PredictedPeak(peak, "training"), seconds, "")
    resources = SimpleNamespace(predicted=lambda: found, device=torch.device("cpu"))
    return SimpleNamespace(resources=resources, spec=SimpleNamespace(trainer=SimpleNamespace(checkpoint_every=every)))


def test_predictions_are_kept_with_the_disk_that_checkpoints_take(chosen, monkeypatch):
    jobs = {"width_8": job(100, 300, 9.5), "mu_limit": job(70, 200, 8.0, every=0)}
    monkeypatch.setattr(verify, "specified", lambda config: jobs[config["row"]])
    verify.predict(verify.books(chosen), chosen)
    (book,) = verify.books(chosen)
    found = {row: (p.train_seconds, p.memory_bytes, p.disk_bytes) for (row, _), p in book.predictions.items()}
    assert found == {"width_8": (9.5, 300, 200), "mu_limit": (8.0, 200, 0)}
    monkeypatch.setattr(verify, "specified", lambda config: pytest.fail("is predicted already"))
    verify.predict(verify.books(chosen), chosen)


def test_runs_that_cannot_be_predicted_are_said(chosen, monkeypatch, capsys):
    def specified(config):
        if config["row"] == "width_8":
            raise DataError("omniglot was not found")
        return job(100, 300, None)

    monkeypatch.setattr(verify, "specified", specified)
    verify.predict(verify.books(chosen), chosen)
    said = capsys.readouterr().out
    assert "maml/width_8: not predicted: omniglot was not found" in said
    assert "maml/mu_limit: the time of such runs is not predicted." in said
    assert not verify.books(chosen)[0].predictions


def test_the_command_says_verdicts_and_its_status_is_what_was_asked_for(tmp_path):
    fingerprint = helpers.code_of_today(tmp_path)
    helpers.write(tmp_path, [record("width_8", seed, 20.0, fingerprint=fingerprint) for seed in (0, 1, 2)])
    done = command("verify", "name=maml", f"paths.results={tmp_path}")
    assert "FAIL: Width 8 is within 2 points of its published number." in done.stdout
    assert (
        "NOT RUN: Width 2 is within 2 points" in done.stdout and "10 claims: 0 PASS, 1 FAIL, 9 NOT RUN." in done.stdout
    )
    done = command("verify", "name=maml", "strict=true", f"paths.results={tmp_path}", check=False)
    assert done.returncode == 1 and "1 FAIL" in done.stdout and not done.stderr


def test_claims_that_there_are_not_are_a_sentence(chosen):
    with pytest.raises(ConfigError, match="name is alchemy, which has no claims; these have some: maml"):
        verify.books(dataclasses.replace(chosen, name="alchemy"))


def test_a_dataset_that_is_named_is_for_the_rows_that_go_with_it(chosen, monkeypatch):
    monkeypatch.undo()  # back to the experiments that there are
    (book,) = [b for b in claims_book.books(REPOSITORY / "results") if b.experiment == "word2vec"]
    found = verify.runs_of(book, "paper", ["width_64", "fil9_width_64"], dataclasses.replace(chosen, data="simple8"))
    assert [(run.row, run.config["data"]["name"]) for run in found] == [
        ("width_64", "simple8"),
        ("fil9_width_64", "fil9"),
    ]

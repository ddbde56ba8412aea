"""Tables from records: choices on validation, diverged seeds, marks."""

import math

import pandas as pd
import pytest

from infwidth.reporting import pca, records, table
from infwidth.reporting.records import Record


def record(
    row="a", seed=0, sigma=1.0, validation=50.0, test=40.0, status="finished", width=8, commit="abc", scale="cpu"
):
    metrics = {"test/accuracy": test, "validation/accuracy": validation} if status == "finished" else {}
    config = {
        "task": {"name": "t"}, "model": {"name": "finite", "sigma": sigma, **({"width": width} if width else {})}, "parametrization": {"name": "auto"},
        "trainer": {"epochs": 3, "selection": "validation"}, "data": {"name": "d"},
    }  # fmt: skip
    return Record(
        id=f"{row}{seed}{sigma}{scale}", name="x", row=row, seed=seed, scale=scale, status=status, parametrization="mup", data="D", hardware="H", commit=commit,
        wall_seconds=1.0, peak_memory_bytes=10, best_epoch=2, metrics=metrics, curve=[[1, 30.0], [2, 50.0]], config=config, versions={"python": "3"},
    )  # fmt: skip


PAPER = pd.DataFrame(
    {
        "row": ["a", "b"],
        "label": ["A", "B"],
        "metric": ["accuracy"] * 2,
        "paper": [41.0, 60.0],
        "paper_std": [None, None],
        "source": ["", ""],
    }
)


def test_mean_and_spread_over_seeds_beside_the_paper():
    built, behind, notes = table.build([record(seed=0, test=40.0), record(seed=1, test=44.0)], PAPER, ["a", "b"])
    line = built[built.metric == "accuracy"].iloc[0]
    assert (line["mean"], line["paper"], line["seeds"]) == (42.0, 41.0, 2) and line["std"] == pytest.approx(
        math.sqrt(8)
    )
    assert not notes and len(behind["a", "cpu", "D"]) == 2
    shown = table.display(built, {"a": "Label A"}, ["D"], outdated=["abc"]).iloc[0]
    assert (shown["row"], shown["ours"], shown["difference"]) == ("Label A †", "42.00 ± 2.83", "+1.00")


def test_candidates_are_chosen_on_validation_not_on_test():
    runs = [record(sigma=s, seed=i, validation=v, test=t) for s, v, t in ((1.0, 50, 90), (2.0, 55, 40)) for i in (0, 1)]
    runs.append(record(sigma=3.0, seed=0, validation=99, test=99))  # fewer seeds: does not compete
    built, _, notes = table.build(runs, PAPER, ["a"])
    line = built[built.metric == "accuracy"].iloc[0]
    assert (line["mean"], line["seeds"]) == (40, 2) and "hyperparameters on validation" in line["selection"]
    assert notes == ["a (cpu): chosen on validation: sigma = 2.0"]


def test_a_diverged_seed_is_counted_and_said():
    built, _, notes = table.build([record(seed=0), record(seed=1, status="diverged")], PAPER, ["a"])
    assert built[built.metric == "accuracy"].iloc[0]["seeds"] == 1 and notes == ["a (cpu): 1 of 2 seeds diverged"]
    built, _, _ = table.build([record(seed=1, status="diverged")], PAPER, ["a"])
    assert table.display(built, {}, ["Other"]).iloc[0]["ours"] == "diverged"


def test_on_other_data_than_the_papers_no_difference_is_claimed():
    built, _, _ = table.build([record(scale="demo")], PAPER, ["a"])
    assert table.display(built, {}, ["Other"]).iloc[0]["difference"] == ""


def test_infinite_width_and_order(tmp_path):
    built, _, _ = table.build(
        [record(row="b", width=None), record(row="a"), record(row="a", scale="demo")], PAPER, ["a", "b"]
    )
    table.write_csv(built, tmp_path / "t.csv")
    written = pd.read_csv(tmp_path / "t.csv", dtype=str)
    assert list(written[written.metric == "accuracy"].width) == ["8", "inf", "8"]
    assert list(written.columns) == table.COLUMNS


def test_runs_csv_round_trip(tmp_path):
    found = [record(seed=s) for s in (1, 0)]
    records.write_csv(tmp_path / "x" / "runs.csv", found)
    assert records.read_csv(tmp_path / "x" / "runs.csv") == found


def test_a_panel_tells_separated_classes_from_mixed_ones():
    import numpy as np

    rng = np.random.default_rng(0)
    labels, centres = np.repeat(np.arange(4), 20), 8 * rng.standard_normal((4, 30))
    noise = rng.standard_normal((80, 30))
    apart, mixed = (
        pca.panel("apart", centres[labels] + noise, labels, tuple("abcd")),
        pca.panel("mixed", noise, labels, tuple("abcd")),
    )
    assert apart.silhouette > 0.5 > mixed.silhouette and apart.probe_accuracy > 95 > 60 > mixed.probe_accuracy


def test_keys_that_decide_no_number_do_not_split_a_row():
    import infwidth.training.trainer as trainer

    assert records.NOT_DECIDING["trainer"] == set(trainer.TrainerConfig.NOT_DECIDING)
    config = {
        "task": {"name": "t"},
        "trainer": {"epochs": 2, "threads": 4},
        "data": {"name": "d", "root": "/home/me"},
        "seed": 3,
    }
    assert records.deciding(config) == {"task": {"name": "t"}, "trainer": {"epochs": 2}, "data": {"name": "d"}}


def test_a_run_that_two_scales_share_is_in_both():
    built, _, _ = table.build([record(scale="cpu paper")], PAPER, ["a"])
    assert list(built[built.metric == "accuracy"].scale) == ["cpu", "paper"]

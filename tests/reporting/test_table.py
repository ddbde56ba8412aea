"""Tables from records: choices on validation, diverged seeds, marks."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from infwidth.reporting import order, pca, records, table
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
        "data": ["D", "D"],
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
    shown = table.display(built, {"a": "Label A"}, ["D"], outdated=[("a", "abc")]).iloc[0]
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


def test_papers_with_two_datasets():
    """The paper's number on the same data, or on its first where ours are other data."""
    paper = PAPER.assign(row=["a", "a"], data=["D", "E"])
    for data, number in (("D", 41.0), ("E", 60.0), ("D (first 5 MB)", 41.0)):
        assert table.published_numbers(paper, "a", data) == {"accuracy": number}
    assert table.published_numbers(paper, "b", "D") == {}


def test_other_accuracies_have_lines_and_columns():
    extra = replace(
        record(),
        metrics={
            "test/accuracy": 40.0,
            "test/loss": 2.0,
            "test/semantic": 30.0,
            "test/questions": 9.0,
            "validation/accuracy": 40.0,
        },
    )
    built, _, _ = table.build([extra], PAPER, ["a"])
    assert list(built.metric) == ["accuracy", "semantic", "validation_accuracy"]
    assert table.display(built, {}, set(), more=("semantic", "absent")).iloc[0][["semantic", "absent"]].tolist() == [
        "30.00",
        "",
    ]


def answered(share, seeds=3, questions=2000, shift=0):
    rng = np.random.default_rng(shift)
    return rng.random((seeds, questions)) < share


def test_the_order_of_rows_is_tested_over_questions_and_seeds():
    same = answered(0.4)
    better = same | answered(0.1, shift=1)
    found = order.compare("a", "b", {"a": same, "b": better})
    assert found.low > 0 and abs(found.difference - 6) < 1.5 and found.low < found.difference < found.high
    assert "higher" in found.sentence({}) and "2000 questions and 3 seeds" in found.sentence({})
    noise = order.compare("a", "b", {"a": answered(0.4, shift=2), "b": answered(0.4, shift=3)})
    assert noise.low < 0 < noise.high and "not told apart" in noise.sentence({})


def test_a_seed_that_differs_widens_the_interval():
    """The same mean difference, once in every seed and once in one of three only."""
    base, gain = answered(0.4), answered(0.1, shift=1)
    one = gain.copy()
    one[1:] = False
    even, uneven = (order.compare("a", "b", {"a": base, "b": base | g}) for g in (gain, one))
    assert uneven.low <= 0 < even.low


def test_order_is_kept_for_clones_without_the_runs(tmp_path):
    for seed in (0, 1):
        for row, share in (("a", 0.2), ("b", 0.6)):
            folder = tmp_path / f"{row}{seed}"
            folder.mkdir()
            np.savez(folder / "evidence.npz", correct=answered(share, shift=seed)[0])
    runs = {row: [replace(record(row, seed), folder=str(tmp_path / f"{row}{seed}")) for seed in (0, 1)] for row in "ab"}
    found = order.comparisons(["a", "b"], runs)
    order.write(found, "cpu scale, D", tmp_path / "order.json")
    (kept,) = order.read(tmp_path / "order.json", "cpu scale, D")
    assert (
        order.read(tmp_path / "order.json", "paper scale, D")
        == order.read(tmp_path / "absent.json", "cpu scale, D")
        == []
    )
    assert kept.sentence({}) == found[0].sentence({}) and (kept.seeds, kept.questions) == (2, 2000)
    assert order.comparisons(["a", "b"], {"a": runs["a"]}) == []

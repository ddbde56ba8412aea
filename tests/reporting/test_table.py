"""Tables from records: planned runs only, choices on validation, diverged seeds, marks."""

import math
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
import pytest

from infwidth.errors import DataError
from infwidth.reporting import kept, order, pca, table
from infwidth.reporting.experiment import most_complete
from infwidth.runs import store
from infwidth.runs.store import Record


@dataclass
class Recipe:
    rows: tuple = ("a", "b")
    candidates: dict = field(default_factory=dict)

    def candidates_of(self, row, scale):
        return self.candidates.get(row, {})


@dataclass
class Plan:
    """Plans runs of a, b at the scale that their config names.

    Of a row with candidates, the values of sigma that it names.
    """

    recipe: Recipe = field(default_factory=Recipe)

    def members(self, config):
        model = config["model"]
        row, wanted = model["row"], self.recipe.candidates_of(model["row"], "")
        if row not in self.recipe.rows or (wanted and model["sigma"] not in wanted["model.sigma"]):
            return []
        candidate = {"model.sigma": model["sigma"]} if wanted else {}
        return [(scale, row, candidate) for scale in config["scales"]]

    def size(self, scale):
        return len(self.recipe.rows)


CANDIDATES = Plan(Recipe(candidates={"a": {"model.sigma": [1.0, 2.0, 3.0]}}))


def record(row="a", seed=0, sigma=1.0, validation=50.0, test=40.0, status="finished", width=8, scales=("cpu",)):
    metrics = {"test/accuracy": test, "validation/accuracy": validation} if status == "finished" else {}
    model = {"name": "finite", "row": row, "sigma": sigma, **({"width": width} if width else {})}
    return Record(
        id=f"{row}{seed}{sigma}{scales}",
        name="x",
        row=row,
        seed=seed,
        status=status,
        parametrization="mup",
        data="D",
        checksum="c",
        hardware="H",
        commit="abc",
        wall_seconds=1.0,
        peak_memory_bytes=10,
        best_epoch=2,
        metrics=metrics,
        curve=[[1, 30.0], [2, 50.0]],
        config={"model": model, "trainer": {"epochs": 3, "selection": "validation"}, "scales": list(scales)},
        provenance={"versions": {"python": "3"}},
    )


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


def lines(records, plan=None, marked=lambda record: False):
    return table.lines(records, plan or Plan(), marked)[0]


def headline(found, paper=PAPER):
    built = table.build(found, paper)
    return built[built.metric == "accuracy"].iloc[0]


def shown(found, paper=PAPER):
    return table.display(table.build(found, paper), found, {"a": "Label A"}).iloc[0]


def test_mean_and_spread_over_seeds_beside_the_paper():
    found = lines([record(seed=0, test=40.0, scales=["paper"]), record(seed=1, test=44.0, scales=["paper"])])
    line = headline(found)
    assert (line["mean"], line["paper"], line["seeds"]) == (42.0, 41.0, 2)
    assert line["std"] == pytest.approx(math.sqrt(8))
    assert not found[0].notes and len(found[0].records) == 2
    assert tuple(shown(found)[["row", "ours", "difference"]]) == ("Label A", "42.00 ± 2.83", "+1.00")


def test_a_row_whose_code_has_changed_is_marked():
    found = lines([record(seed=0), record(seed=1)], marked=lambda r: r.seed == 1)
    assert shown(found)["row"] == "Label A †"
    assert shown(lines([record(seed=0)]))["row"] == "Label A"


def test_runs_that_no_plan_has_are_no_part_of_the_table():
    mine = record(row="mine")
    found, others = table.lines([record(), mine], Plan(), lambda r: False)
    assert others == [mine] and [line.row for line in found] == ["a"] and len(table.build(found, PAPER)) == 2


def test_candidates_are_chosen_on_validation_not_on_test():
    runs = [record(sigma=s, seed=i, validation=v, test=t) for s, v, t in ((1.0, 50, 90), (2.0, 55, 40)) for i in (0, 1)]
    runs.append(record(sigma=9.0, seed=0, validation=99, test=99))  # not among the recipe's
    found = lines(runs, CANDIDATES)
    line = headline(found)
    assert (line["mean"], line["seeds"]) == (40, 2) and "hyperparameters on validation" in line["selection"]
    assert found[0].notes == [
        "a (cpu): chosen on validation among 2: sigma = 2.0; 1 of 3 candidates were not run",
    ]


def test_more_seeds_do_not_make_a_candidate_better():
    runs = [record(sigma=1.0, seed=i, validation=10, test=1) for i in range(3)]
    runs.append(record(sigma=2.0, seed=0, validation=60, test=50))
    assert headline(lines(runs, CANDIDATES))["mean"] == 50
    apart = [record(sigma=1.0, seed=0), record(sigma=2.0, seed=1)]
    assert lines(apart, CANDIDATES) == []


def test_other_hyperparameters_never_compete_where_the_recipe_names_none():
    runs = [record(seed=0, sigma=1.0, test=5.0), record(seed=1, sigma=1.0, test=5.0)]
    assert headline(lines(runs))["mean"] == 5.0
    assert not lines(runs)[0].selection.endswith("validation, hyperparameters on validation")


def test_a_diverged_seed_is_counted_and_said():
    found = lines([record(seed=0), record(seed=1, status="diverged")])
    assert headline(found)["seeds"] == 1 and found[0].notes == ["a (cpu): 1 of 2 seeds diverged"]
    assert shown(lines([record(seed=1, status="diverged")]))["ours"] == "diverged"


def test_a_difference_is_shown_at_the_published_scale_only():
    assert shown(lines([record(scales=["cpu"])]))["difference"] == ""
    both = lines([record(scales=["cpu", "paper"])])
    assert tuple(shown(both)[["scale", "difference"]]) == ("cpu, paper", "-1.00")


def test_a_published_number_is_compared_with_the_metric_that_it_was_measured_by():
    on_validation = PAPER.assign(metric="validation_accuracy")
    found = lines([record(test=40.0, validation=43.0, scales=["paper"])])
    line = shown(found, on_validation)
    assert line["paper"] == "41.00 (validation accuracy)" and line["ours"] == "40.00"
    assert line["difference"] == "+2.00 (validation accuracy)"
    built = table.build(found, on_validation)
    assert built[built.metric == "accuracy"].paper.isna().all()


def test_infinite_width_and_order(tmp_path):
    found = lines([record(row="b", width=None), record(row="a"), record(row="a", scales=["demo"], seed=1)])
    table.write_csv(table.build(found, PAPER), tmp_path / "t.csv")
    written = pd.read_csv(tmp_path / "t.csv", dtype=str)
    assert list(written[written.metric == "accuracy"].width) == ["8", "inf", "8"]
    assert list(written.columns) == table.COLUMNS


def test_figures_show_the_scale_that_is_most_complete():
    runs = [record(row="a", scales=["cpu"]), record(row="b", scales=["cpu"]), record(row="a", seed=5, scales=["paper"])]
    view = most_complete(lines(runs), Plan())
    assert (view.scale, sorted(view.drawn)) == ("cpu", ["a", "b"])
    assert most_complete(lines([*runs, record(row="b", seed=5, scales=["paper"])]), Plan()).scale == "paper"


def test_runs_csv_round_trip(tmp_path):
    found = [record(seed=s) for s in (1, 0)]
    store.write_csv(tmp_path / "x" / "runs.csv", found)
    assert store.read_csv(tmp_path / "x" / "runs.csv") == found


@pytest.mark.parametrize(
    "change, said",
    [
        (("finished", "going"), "line 2 is not a run"),
        ((",0,", ",zero,"), "line 2 is not a run"),
        (("{", "["), "line 2 is not a run"),
    ],
)
def test_a_damaged_runs_csv_is_a_sentence(tmp_path, change, said):
    path = tmp_path / "runs.csv"
    store.write_csv(path, [record()])
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(DataError, match=said):
        store.read_csv(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        store.read_csv(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b"row,label,metric,paper,paper_std,data,source\na,A,accuracy,many,,D,\n"],
)
def test_a_damaged_paper_csv_is_a_sentence(tmp_path, content):
    (tmp_path / "paper.csv").write_bytes(content)
    with pytest.raises(DataError, match="paper.csv cannot be read"):
        table.read_paper(tmp_path / "paper.csv")


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


def test_a_run_that_two_scales_share_is_in_both():
    built = table.build(lines([record(scales=["cpu", "paper"])]), PAPER)
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
    found = lines([extra])
    built = table.build(found, PAPER)
    assert list(built.metric) == ["accuracy", "semantic", "validation_accuracy"]
    line = table.display(built, found, {}, more=("semantic", "absent")).iloc[0]
    assert line[["semantic", "absent"]].tolist() == ["30.00", ""]


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
    kept.write(tmp_path / "order.json", [r for rs in runs.values() for r in rs], [asdict(c) for c in found])
    (row,) = kept.read(tmp_path / "order.json", runs)
    again = order.Comparison(**row)
    assert kept.read(tmp_path / "order.json", {"a": runs["a"]}) is kept.read(tmp_path / "absent.json", runs) is None
    assert again.sentence({}) == found[0].sentence({}) and (again.seeds, again.questions) == (2, 2000)
    assert order.comparisons(["a", "b"], {"a": runs["a"]}) == []
    (tmp_path / "order.json").write_text("{")
    with pytest.raises(DataError, match="order.json cannot be read"):
        kept.read(tmp_path / "order.json", runs)


def test_one_seed_says_that_seeds_were_not_resampled():
    found = order.compare("a", "b", {"a": answered(0.4, seeds=1), "b": answered(0.6, seeds=1)})
    assert "both resampled" not in found.sentence({}) and "the questions resampled" in found.sentence({})

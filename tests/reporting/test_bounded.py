"""π-limits with landmarks beside the exact one, from whole runs on digits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from infwidth import report, train
from infwidth.reporting import bounded, table
from infwidth.runs import store
from infwidth.runs.plan import plan_of

NAME = "bounded_cifar10"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The study's demo runs, of fewer images, with their report."""
    folder = tmp_path_factory.mktemp("study") / "results"
    more = [f"paths.results={folder}", "logger=none", "trainer.progress=false"]
    for planned in plan_of(NAME).runs("demo", 1, None, more):
        train.run(planned.config)
    report.write(folder, NAME)
    return folder


def by_row(results: Path) -> dict[str, store.Record]:
    return {r.row: r for r in store.load(results, NAME)}


def test_every_number_is_that_of_the_runs(results):
    runs = by_row(results)
    kept = json.loads((results / NAME / bounded.KEPT).read_text())
    assert set(kept["runs"]) == {r.id for r in runs.values()} and len(kept["content"]) == 12
    last = {e["row"]: e for e in kept["content"] if e["epoch"] == 4}
    outputs = {
        row: np.load(Path(r.folder) / "evaluations" / "4.npz")["outputs"].astype(float) for row, r in runs.items()
    }
    exact = outputs["exact"]
    for row, found in last.items():
        line = [line for line in store.history(Path(runs[row].folder)) if line.get("epoch") == 4][0]
        assert found["loss"] == pytest.approx(line["train/loss"], rel=1e-5) and found["steps"] == line["step"]
        assert found["rows"] == max(line["model/rows_2"], line["model/rows_3"])
        if row != "exact":
            apart = np.linalg.norm(outputs[row] - exact) / np.linalg.norm(exact - exact.mean(1, keepdims=True))
            assert found["output_difference"] == pytest.approx(apart, rel=1e-5) and 0 < apart < 0.1
            assert found["change"] == pytest.approx(max(line["model/change_2"], line["model/change_3"]), rel=1e-5)
            assert 0 < found["change"] < found["bound"]
    assert last["exact"]["output_difference"] is None and last["exact"]["rows"] == 4032
    assert last["epoch"]["rows"] == 1032


def test_table_figures_and_notes(results):
    text = (results / NAME / "table.md").read_text()
    assert "**Bounded rows beside all rows, demo scale, digits (scikit-learn)**" in text
    assert "landmarks: last epoch (demo): a projection changed a layer's outputs on held-out inputs by 0." in text
    assert all(
        (results / NAME / f"{name}.{kind}").exists() for name in ("bounded", "landmarks") for kind in ("png", "svg")
    )
    assert not (results / NAME / "accuracy_vs_width.png").exists()  # all of them are infinitely wide
    assert "Test accuracy against CPU time" in (results / "index.html").read_text()


def test_a_clone_without_the_runs_shows_the_same(results, tmp_path):
    before = (results / NAME / "table.md").read_text()
    clone = tmp_path / "results"
    shutil.copytree(results / NAME, clone / NAME)
    (clone / NAME / "table.md").unlink()
    report.write(clone, NAME)
    assert (clone / NAME / "table.md").read_text() == before


def test_a_run_with_landmarks_is_named_in_any_table(results):
    run = by_row(results)["epoch_2"]
    line = table.Line("pi_limit", "demo", "D", [run])
    (shown,) = table.display(table.build([line], NO_PAPER), [line], {"pi_limit": "π-limit"}).row
    assert shown == "π-limit (landmarks: last epoch, 2 times as many older rows)"
    exact = table.Line("pi_limit", "demo", "D", [by_row(results)["exact"]])
    assert list(table.display(table.build([exact], NO_PAPER), [exact], {}).row) == ["pi_limit"]


NO_PAPER = table.read_paper(Path("experiments/bounded_cifar10/paper.csv")).iloc[:0]


def test_a_change_beyond_the_tolerance_is_said(results):
    run = by_row(results)["epoch"]
    assert "beyond" not in bounded.note("x", [run]) and bounded.note("x", [by_row(results)["exact"]]) == ""
    run.training["change"] = 0.0612
    said = bounded.note("π-limit", [run])
    assert said.startswith(
        "π-limit: a projection changed a layer's outputs on held-out inputs by 6.12 % at most, beyond"
    )


def test_rows_without_their_exact_one_stand_by_themselves(results):
    kept = json.loads((results / NAME / bounded.KEPT).read_text())["content"]
    found = [
        bounded.Epoch(**{k: float("nan") if v is None else v for k, v in epoch.items()})
        for epoch in kept
        if epoch["row"] == "epoch"
    ]
    line = bounded.table(found, {"epoch": "exact"}, {"epoch": [by_row(results)["epoch"]]}, {}).iloc[0]
    assert line["row"] == "epoch" and line["rows"] == "1,032" and not line["difference to exact, by seed"]


def test_numbers_of_landmarks(results):
    assert table.of_landmarks({"landmarks": 8192, "older_rows": 1.0}) == "landmarks: newest 8,192 rows"
    assert table.of_landmarks({"landmarks": None}) == table.of_landmarks({}) == ""


def test_minibatches_of_eight_where_the_scale_has_thirty_two():
    runs = plan_of(NAME).runs("cpu", 1, ["exact", "batch_8_exact", "batch_8_epoch"])
    assert [(run.config["task"]["batch"], run.config["model"]["landmarks"]) for run in runs] == [
        (32, None),
        (8, None),
        (8, "epoch"),
    ]

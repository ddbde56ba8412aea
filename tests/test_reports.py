"""Whole reproductions: tables, figures, the page, and what becomes of them without the runs."""

import csv
import json
import re

import pandas as pd
import pytest

from infwidth import report, train
from infwidth.errors import DataError
from infwidth.reporting.table import COLUMNS
from tests import wandb_files
from tests.commands import command
from tests.training.helpers import SMALL, SMALL_WORD2VEC, small

REPRODUCE = [*(o for o in SMALL if o != "scale=demo")]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """A whole reproduction with W&B offline: four rows, two seeds, one row with candidates."""
    folder = tmp_path_factory.mktemp("reproduced")
    overrides = [o for o in REPRODUCE if not o.startswith(("logger", "trainer.epochs"))] + [
        f"paths.results={folder}",
        f"data.root={folder}/data",
    ]
    rows = ["width_8", "width_512", "mu_limit", "relu_ntk"]
    arguments = [
        "experiment=maml",
        "scale=demo",
        "seeds=2",
        f"rows=[{','.join(rows)}]",
        "overrides=[" + ",".join(f'"{o}"' for o in overrides) + "]",
    ]
    return folder, arguments, command("reproduce", *arguments)


def test_reproduce_writes_table_figures_and_page(reproduced):
    folder, _, done = reproduced
    assert "[8/8 runs" in done.stdout
    output = folder / "maml_varied"
    for name in (
        "table.csv",
        "table.md",
        "runs.csv",
        "accuracy_vs_width.png",
        "accuracy_vs_width.svg",
        "curves.png",
        "pca.png",
        "pca.json",
    ):
        assert (output / name).stat().st_size > 100, name
    table = pd.read_csv(output / "table.csv", dtype={"width": str})
    assert list(table.columns) == COLUMNS
    accuracy = table[table.metric == "accuracy"].set_index("row")
    assert list(accuracy.index) == ["width_8", "width_512", "mu_limit", "relu_ntk"] and (accuracy.seeds == 2).all()
    assert list(accuracy.width) == ["8", "512", "inf", "inf"] and accuracy.paper.isna().all()
    assert (
        list(accuracy.parametrization) == ["mup", "mup", "mup", "ntk"] and (accuracy.data == "glyphs (generated)").all()
    )
    runs = [json.loads(p.read_text()) for p in (folder / "runs/maml_varied").glob("*/summary.json")]
    ours = [r["metrics"]["test/accuracy"] for r in runs if r["row"] == "mu_limit"]
    assert accuracy["mean"]["mu_limit"] == pytest.approx(sum(ours) / 2, abs=1e-3)
    page = (folder / "index.html").read_text()
    assert (
        page.count("data:image/png;base64") == 2 * 3  # light and dark
        and "infwidth.reproduce experiment=maml" in page
        and "demo scale" in page
        and "http" not in re.sub('data:image/png;base64,[^"]*', "", page)
    )


def test_reproduce_again_skips_everything(reproduced):
    folder, arguments, _ = reproduced
    before = (folder / "maml_varied/runs.csv").read_text()
    done = command("reproduce", *arguments)
    assert done.stdout.count("already finished") == 8 and (folder / "maml_varied/runs.csv").read_text() == before


def test_a_clone_without_the_runs_rebuilds_the_report(reproduced, tmp_path):
    folder, _, _ = reproduced
    (tmp_path / "maml_varied").mkdir()
    for name in ("runs.csv", "pca.json", "plan.yaml"):
        (tmp_path / "maml_varied" / name).write_bytes((folder / "maml_varied" / name).read_bytes())
    report.write(tmp_path)
    for name in ("table.csv", "curves.svg", "accuracy_vs_width.svg", "pca.svg"):
        assert (tmp_path / "maml_varied" / name).read_text() == (folder / "maml_varied" / name).read_text(), name


def test_wandb_runs_hold_what_the_plain_files_hold(reproduced):
    """An offline run read back.

    Its history is metrics.jsonl, its summary the run's, its config the resolved one with commit and data.
    """
    folder, _, _ = reproduced
    runs = sorted((folder / "runs/maml_varied").glob("*/summary.json"))
    assert len(runs) == 8
    for path in runs:
        summary, (file,) = json.loads(path.read_text()), path.parent.glob("wandb/offline-run-*/run-*.wandb")
        kept = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
        assert wandb_files.history(file) == kept and kept
        run = wandb_files.run(file)
        assert (run.run_group, run.job_type, run.display_name) == (
            "maml_varied-demo",
            "train",
            f"{summary['row']} seed {summary['seed']}",
        )
        assert {"maml_omniglot", "scale-demo"} <= set(run.tags)
        config = wandb_files.config(file)
        assert (
            config["seed"] == summary["seed"]
            and config["provenance"]["data"]["checksum"] == summary["data"]["checksum"]
        )
        assert config["provenance"]["commit"] == summary["provenance"]["commit"]
        last = wandb_files.summary(file)
        assert {k: last[k] for k in summary["metrics"]} == summary["metrics"]


def test_the_wandb_report_holds_table_figures_and_points(reproduced):
    folder, _, _ = reproduced
    file = min((folder / "runs/maml_varied/wandb").glob("offline-run-*/run-*.wandb"))
    assert wandb_files.run(file).job_type == "report"
    (row,) = wandb_files.history(file)
    kinds = {key.removesuffix("._type"): value for key, value in row.items() if key.endswith("._type")}
    assert kinds == {
        "table": "table-file",
        "pca_points": "table-file",
        "accuracy_vs_width": "image-file",
        "curves": "image-file",
        "pca": "image-file",
    }
    assert row["pca_points.ncols"] == 5 and row["table.nrows"] == 4


def test_damaged_records_are_named(reproduced, tmp_path):
    folder, _, _ = reproduced
    with open(folder / "maml_varied/runs.csv", newline="") as f:
        rows = list(csv.reader(f))
    rows[2][rows[0].index("metrics")] = "{torn"
    (tmp_path / "maml_varied").mkdir()
    with open(tmp_path / "maml_varied/runs.csv", "w", newline="") as f:
        csv.writer(f).writerows(rows)
    with pytest.raises(DataError, match="runs.csv, line 3 is not a run"):
        report.write(tmp_path)


def test_unknown_experiments_and_rows():
    done = command("reproduce", "experiment=alchemy", check=False)
    assert (
        done.returncode == 2
        and "error: experiment 'alchemy' is not known; choose one of: bounded_cifar10" in done.stderr
    )
    done = command("reproduce", "experiment=maml", "rows=[width_3]", check=False)
    assert done.returncode == 2 and "rows has 'width_3'" in done.stderr
    done = command("report", "name=nothing", check=False)
    assert done.returncode == 2 and "there are no finished runs named nothing" in done.stderr


def test_what_is_wrong_with_one_experiment_does_not_hide_the_others(tmp_path, capsys):
    train.run(small(tmp_path, "name=good"))
    bad = train.run(small(tmp_path, "name=bad"))
    folder = tmp_path / "results/runs/bad" / bad["id"]
    (folder / "config.yaml").write_text("a: [")
    interrupted = tmp_path / "results/runs/stopped/x"
    interrupted.mkdir(parents=True)
    (interrupted / "summary.json").write_text('{"status": "interrupted"}')
    assert list(report.write(tmp_path / "results", "good")) == ["good"]
    assert "bad is left out of the page" in capsys.readouterr().err
    with pytest.raises(DataError, match="is damaged"):
        report.write(tmp_path / "results", "bad")


def test_tables_go_into_the_readme_between_their_markers(reproduced, tmp_path):
    folder, _, _ = reproduced
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table: maml_varied -->\nold\n<!-- end -->\nafter\n")
    report.update_readme(readme, folder)
    text = readme.read_text()
    assert (
        text.startswith("before\n<!-- table: maml_varied -->")
        and text.endswith("<!-- end -->\nafter\n")
        and "| μ-limit" in text
        and "old" not in text
    )


def test_word_vectors_have_their_order_neighbours_and_columns(tmp_path):
    options = [*SMALL_WORD2VEC, "data.running_words=8000", "task.subsample=0.01", "task.shared_negatives=96"]
    overrides = [*(o for o in options if o != "scale=demo"), f"paths.results={tmp_path}", f"data.root={tmp_path}/data"]
    command(
        "reproduce",
        "experiment=word2vec",
        "scale=demo",
        "seeds=2",
        "overrides=[" + ",".join(f'"{o}"' for o in overrides) + "]",
    )
    folder = tmp_path / "word2vec_varied"
    table = pd.read_csv(folder / "table.csv")
    assert {"accuracy", "semantic", "syntactic", "section/city-in-state"} <= set(table.metric)
    assert (table[table.row == "ntk_limit"]["mean"] == 0).all() and (table[table.row == "mu_limit"]["mean"] > 0).all()
    text = (folder / "table.md").read_text()
    assert "width 256 minus width 64" in text and "both resampled" in text and "| semantic |" in text
    assert "random initial vectors, width 1024" in text and "examples of 2 classes" in text
    page = (tmp_path / "index.html").read_text()
    assert "Word2Vec: word vectors" in page
    for name in ("accuracy_vs_width.png", "curves.png", "pca.png", "order.json"):
        assert (folder / name).stat().st_size > 0

"""The commands as people type them, and every experiment config end to end at demo scale."""

import csv
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from infwidth import report, train
from infwidth.command import composed
from infwidth.errors import ConfigError, DataError
from infwidth.reporting import staleness
from infwidth.reporting.experiment import read_recipe
from infwidth.reporting.table import COLUMNS
from tests.conftest import REPOSITORY
from tests.training.helpers import SMALL, small

ROWS = sorted(
    p.relative_to(REPOSITORY / "conf/experiment").with_suffix("").as_posix()
    for p in (REPOSITORY / "conf/experiment").glob("*/*.yaml")
)


def command(module, *arguments, folder=None, check=True, **environment):
    """Run ``python -m infwidth.<module>`` as a user would."""
    extra = [f"paths.results={folder}/results", f"data.root={folder}/data"] if folder else []
    done = subprocess.run(
        [sys.executable, "-m", f"infwidth.{module}", *arguments, *extra],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("row", ROWS)
def test_every_published_row_runs_at_demo_scale(row, tmp_path):
    config = small(tmp_path, f"experiment={row}", "trainer.epochs=1")
    assert (config["name"], config["row"]) == tuple(row.split("/"))
    summary = train.run(config)
    assert summary["status"] == "finished" and 0 <= summary["metrics"]["test/accuracy"] <= 100


@pytest.mark.parametrize("row", ROWS)
def test_published_rows_compose_at_every_scale(row):
    for scale in ("demo", "cpu", "paper"):
        config = composed("train", [f"experiment={row}", f"scale={scale}"])
        names = {"maml": ("glyphs", "omniglot", "omniglot"), "word2vec": ("planted_corpus", "text8_or_simple8", "text8")}[row.split("/")[0]]
        assert config["data"]["name"] == dict(zip(("demo", "cpu", "paper"), names, strict=True))[scale]
        assert config["paths"]["results"] == ("results/demo" if scale == "demo" else "results")


def test_rows_recipes_and_paper_numbers_name_the_same_rows():
    for folder in (p for p in (REPOSITORY / "experiments").glob("*") if p.is_dir()):
        recipe = read_recipe(folder)
        assert {f"{folder.name}/{r}" for r in recipe.rows} == {r for r in ROWS if r.startswith(f"{folder.name}/")}
        assert set(pd.read_csv(folder / "paper.csv").row) == set(recipe.rows)
        for part in (recipe.limits, recipe.curves, [p.row for p in recipe.pca], recipe.demo.rows or (), recipe.order, recipe.neighbours):
            assert set(part) <= set(recipe.rows)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["+colour=red"], "error: colour is not a known key"),
        (["colour=red"], "Could not override 'colour'"),
        (["model.width=0", "model=finite"], "error: model.width is 0; it must be at least 1."),
        (["model=finite", "model.momentum=1"], "Could not override 'model.momentum'"),
        (["model=mu_limit", "model.activation=relu"], "model=pi_limit"),
        (["model=nngp_limit", "parametrization=standard"], "unstable because"),
        (["data=mnist"], "Could not find 'data/mnist'"),
        (["task.ways=50"], "error: task.ways is 50, but the"),
        (["task.shots=30"], "error: task.shots + task.queries is 30 + 1"),
        (["experiment=maml/width_3"], "Could not find 'experiment/maml/width_3'"),
    ],
)
def test_bad_input_is_a_sentence(arguments, message, tmp_path):
    done = command("train", *SMALL, *arguments, folder=tmp_path, check=False)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr


def test_a_sweep_goes_on_past_a_failed_job_and_is_reported_untold(tmp_path):
    done = command(
        "train",
        "-m",
        *SMALL,
        "name=sweep",
        "model=finite",
        "model.width=0,4,16",
        "parametrization=mup,ntk",
        "seed=0,1",
        folder=tmp_path,
    )
    assert done.stderr.count("error: model.width is 0") == 4 and done.stdout.count("test accuracy") == 8
    done = command("report", "name=sweep", f"paths.results={tmp_path}/results")
    table = pd.read_csv(tmp_path / "results/sweep/table.csv")
    assert (
        list(table.columns[:2]) == ["model.width", "parametrization.name"]
        and len(table) == 4
        and (table.seeds == 2).all()
    )
    assert (tmp_path / "results/sweep/accuracy.png").stat().st_size > 5000 and "sweep" in (
        tmp_path / "results/index.html"
    ).read_text()


def test_the_joblib_launcher_runs_the_same_jobs(tmp_path):
    command(
        "train",
        "-m",
        *SMALL,
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "model=finite",
        "model.width=4,16",
        "seed=0,1",
        "trainer.threads=1",
        folder=tmp_path / "a",
    )
    summaries = [json.loads(p.read_text()) for p in (tmp_path / "a/results/runs/maml_omniglot").glob("*/summary.json")]
    assert len(summaries) == 4 and all(s["status"] == "finished" for s in summaries)
    alone = train.run(small(tmp_path / "b", "model.width=16", "seed=1", "trainer.threads=1"))
    assert next(s for s in summaries if s["id"] == alone["id"])["metrics"] == alone["metrics"]


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
    output = folder / "maml"
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
    assert list(accuracy.width) == ["8", "512", "inf", "inf"] and accuracy.paper["mu_limit"] == 66.42
    assert (
        list(accuracy.parametrization) == ["mup", "mup", "mup", "ntk"] and (accuracy.data == "glyphs (generated)").all()
    )
    runs = [json.loads(p.read_text()) for p in (folder / "runs/maml").glob("*/summary.json")]
    ours = [r["metrics"]["test/accuracy"] for r in runs if r["row"] == "mu_limit"]
    assert accuracy["mean"]["mu_limit"] == pytest.approx(sum(ours) / 2, abs=1e-3)
    page = (folder / "index.html").read_text()
    assert (
        page.count("data:image/png;base64") == 3
        and "make demo" in page
        and "demo scale" in page
        and "http" not in page.replace("http-equiv", "")
    )


def test_reproduce_again_skips_everything(reproduced):
    folder, arguments, _ = reproduced
    before = (folder / "maml/runs.csv").read_text()
    done = command("reproduce", *arguments)
    assert done.stdout.count("already finished") == 8 and (folder / "maml/runs.csv").read_text() == before


def test_a_clone_without_the_runs_rebuilds_the_report(reproduced, tmp_path):
    folder, _, _ = reproduced
    (tmp_path / "maml").mkdir()
    for name in ("runs.csv", "pca.json"):
        (tmp_path / "maml" / name).write_bytes((folder / "maml" / name).read_bytes())
    report.write(tmp_path)
    for name in ("table.csv", "curves.svg", "accuracy_vs_width.svg", "pca.svg"):
        assert (tmp_path / "maml" / name).read_text() == (folder / "maml" / name).read_text(), name


def test_wandb_runs_are_kept_offline_beside_the_plain_files(reproduced):
    folder, _, _ = reproduced
    for run in (folder / "runs/maml").glob("*/summary.json"):
        assert list(run.parent.glob("wandb/offline-run-*/run-*.wandb"))
    assert list((folder / "runs/maml/wandb").glob("offline-run-*/run-*.wandb"))  # the report with table and figures


def test_damaged_records_are_named(reproduced, tmp_path):
    folder, _, _ = reproduced
    with open(folder / "maml/runs.csv", newline="") as f:
        rows = list(csv.reader(f))
    rows[2][rows[0].index("metrics")] = "{torn"
    (tmp_path / "maml").mkdir()
    with open(tmp_path / "maml/runs.csv", "w", newline="") as f:
        csv.writer(f).writerows(rows)
    with pytest.raises(DataError, match="runs.csv, line 3 is not a run"):
        report.write(tmp_path)


def test_unknown_experiments_and_rows():
    done = command("reproduce", "experiment=alchemy", check=False)
    assert done.returncode == 2 and "error: experiment 'alchemy' is not known; choose one of: maml" in done.stderr
    done = command("reproduce", "experiment=maml", "rows=[width_3]", check=False)
    assert done.returncode == 2 and "rows has 'width_3'" in done.stderr
    done = command("report", "name=nothing", check=False)
    assert done.returncode == 2 and "there are no finished runs named nothing" in done.stderr


def test_an_override_that_does_not_fit_is_a_config_error():
    with pytest.raises(ConfigError, match="does not compose"):
        composed("train", ["modle=finite"])


@pytest.mark.parametrize(
    "options",
    [
        ["task.episodes=learn2learn"],
        ["task.adaptation.order=second", "task.adaptation.steps=3", "task.reduction=mean"],
        ["model.depth=2", "model.activation=relu", "task.adaptation.order=second"],
        ["parametrization=custom", "parametrization.a=[0,1]", "parametrization.b=[0,0]", "parametrization.c=-1"],
        [
            "trainer.schedule.name=cosine",
            "trainer.schedule.unit=step",
            "trainer.clip_by=parameter",
            "trainer.decay=0.001",
        ],
        ["task.shots=2", "task.queries=3", "task.ways=4"],
    ],
    ids=lambda options: " ".join(options),
)
def test_every_option_of_the_task_runs(options, tmp_path):
    assert train.run(small(tmp_path, *options))["status"] == "finished"


def test_both_samplers_train_to_the_same_accuracy_up_to_noise(tmp_path):
    """The same statistics, seen by training: test accuracies within four standard errors of each other."""
    longer = [
        "trainer.epochs=20",
        "task.meta_batch=16",
        "task.evaluation_episodes=400",
        "data.train_classes=60",
        "data.test_classes=40",
    ]
    ours, theirs = (
        train.run(small(tmp_path, f"task.episodes={e}", *longer))["metrics"] for e in ("vectorised", "learn2learn")
    )
    error = (ours["test/accuracy_standard_error"] ** 2 + theirs["test/accuracy_standard_error"] ** 2) ** 0.5
    assert ours["test/accuracy"] > 25 and abs(ours["test/accuracy"] - theirs["test/accuracy"]) < 4 * error


def test_only_changes_that_can_change_numbers_make_a_commit_outdated(tmp_path):
    def git(*arguments):
        command = ["git", "-C", tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def outdated(commit):
        staleness.outdated.cache_clear()
        return staleness.outdated(commit, tmp_path)

    code, settings = tmp_path / "src/infwidth/models/linear.py", tmp_path / "conf/task/t.yaml"
    for path, text in (
        (code, '"""Doc."""\nx = 1\n'),
        (settings, "a: 1\n"),
        (tmp_path / "src/infwidth/reporting/table.py", "1\n"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    first = git("rev-parse", "--short", "HEAD")
    code.write_text('"""Another doc."""\nx = 1  # a comment\n')
    settings.write_text("a: 1  # a comment\n")
    (tmp_path / "src/infwidth/reporting/table.py").write_text("2\n")
    assert not outdated(first) and outdated(first + "+") and outdated("0123456789")
    settings.write_text("a: 2\n")
    assert outdated(first)
    settings.write_text("a: 1\n")
    code.write_text("x = 2\n")
    assert outdated(first)


def test_a_varied_row_does_not_enter_the_rows_table(tmp_path):
    done = command("train", "experiment=maml/width_8", *SMALL, folder=tmp_path)
    assert "is not the published row; the run is named maml_varied" in done.stdout
    assert [p.name for p in (tmp_path / "results/runs").iterdir()] == ["maml_varied"]


def test_scales_that_ask_for_the_same_run_share_it(tmp_path):
    config = small(tmp_path, "experiment=maml/relu_ntk")
    train.run(config)
    train.run({**config, "scale": "cpu"})
    table = pd.read_csv(report.write(tmp_path / "results") and tmp_path / "results/maml/table.csv")
    assert set(table.scale) == {"demo", "cpu"}


def test_a_local_run_keeps_the_scales_that_runs_csv_knows(tmp_path):
    config = small(tmp_path, "experiment=maml/relu_ntk")
    train.run(config)
    report.write(tmp_path / "results")
    summary = train.run({**config, "scale": "cpu", "force": True})
    assert summary["scale"] == "cpu" and "scales" not in summary
    report.write(tmp_path / "results")
    assert set(pd.read_csv(tmp_path / "results/maml/table.csv").scale) == {"demo", "cpu"}


def test_what_is_wrong_with_one_experiment_does_not_hide_the_others(tmp_path, capsys):
    good = train.run(small(tmp_path, "name=good"))
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
    (tmp_path / "results/runs/good" / good["id"] / "summary.json").write_bytes(b"\xff[]")
    assert train.run(small(tmp_path, "name=good"))["metrics"] == good["metrics"]


def test_wandb_that_cannot_start_is_a_sentence(tmp_path):
    done = command(
        "train",
        *(o for o in SMALL if not o.startswith("logger")),
        "logger=wandb",
        folder=tmp_path,
        check=False,
        WANDB_MODE="banana",
    )
    assert (
        done.returncode == 2
        and "error: W&B does not start with mode 'banana'" in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize("name", ["../outside", "a/b", ""])
def test_a_name_that_is_no_folder_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="it becomes a folder"):
        train.run({**small(tmp_path), "name": name})


def test_tables_go_into_the_readme_between_their_markers(reproduced, tmp_path):
    folder, _, _ = reproduced
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table: maml -->\nold\n<!-- end -->\nafter\n")
    report.update_readme(readme, folder)
    text = readme.read_text()
    assert (
        text.startswith("before\n<!-- table: maml -->")
        and text.endswith("<!-- end -->\nafter\n")
        and "| μ-limit" in text
        and "old" not in text
    )

"""Runs and sweeps as people type them, and every experiment config end to end at demo scale."""

import json
import sys
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext

import hydra
import pandas as pd
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from infwidth import train
from infwidth.command import command as made_command
from infwidth.command import sentences
from infwidth.errors import ConfigError
from infwidth.runs.compose import COMMANDS, composed
from infwidth.runs.plan import read_recipe
from tests.commands import command, interrupted, refused
from tests.conftest import REPOSITORY
from tests.training.helpers import SMALL, small

ROWS = sorted(
    p.relative_to(REPOSITORY / "conf/experiment").with_suffix("").as_posix()
    for p in (REPOSITORY / "conf/experiment").glob("*/*.yaml")
)


@pytest.mark.parametrize("row", ROWS)
def test_every_published_row_runs_at_demo_scale(row, tmp_path):
    epochs = [] if composed("train", [f"experiment={row}"])["trainer"]["epochs"] == 0 else ["trainer.epochs=1"]
    config = small(tmp_path, f"experiment={row}", *epochs)
    assert (config["name"], config["row"]) == tuple(row.split("/"))
    summary = train.run(config)
    assert summary["status"] == "finished" and 0 <= summary["metrics"]["test/accuracy"] <= 100


def test_rows_recipes_and_paper_numbers_name_the_same_rows():
    for folder in (p.parent for p in (REPOSITORY / "experiments").glob("*/paper.csv")):
        recipe = read_recipe(folder.name)
        assert {f"{folder.name}/{r}" for r in recipe.rows} == {r for r in ROWS if r.startswith(f"{folder.name}/")}
        assert set(pd.read_csv(folder / "paper.csv").row) == set(recipe.rows)
        for part in (
            recipe.limits,
            recipe.curves,
            [p.row for p in recipe.pca],
            recipe.demo.rows or (),
            recipe.order,
            recipe.neighbours,
            recipe.unseeded,
        ):
            assert set(part) <= set(recipe.rows)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["+colour=red"], "colour is not a known key; the config has: "),
        (["model.width=0", "model=finite"], "model.width is 0; it must be at least 1."),
        (["model=nngp_limit", "parametrization=standard"], "unstable because"),
        (["model.widht=3", "model=finite"], "model.widht is not a known key (did you mean model.width?)"),
        (["experiment=maml/width_33"], "did you mean experiment=maml/width_32?"),
        (["task=null"], "task=null chooses nothing; choose one of: cifar10, maml_omniglot"),
        (["-m", "model=mu_limit,mu_limt"], "did you mean model=mu_limit?"),
        (["-m", "model=finite", "model.width=4,8", "task.shot=1"], "did you mean task.shots?"),
        (["sweep=maml_widths", "model=mu_limit"], "model.width is not a known key; model (mu_limit) has: name, depth"),
        (["task.shots=30"], "task.shots + task.queries is 30 + 1"),
        (["hydra.verbose=5"], "does not compose: AssertionError"),
        (["hydra.run.dir=/dev/null/x"], "/dev/null/x cannot be read or written (Not a directory)"),
        (["--verbose"], "unrecognized arguments: --verbose"),
        (["--cfg", "job", "--multirun"], "--multirun and --cfg exclude each other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_a_sentence(arguments, sentence, tmp_path):
    done = command("train", *arguments, *SMALL, folder=tmp_path, check=False)
    assert refused(done, sentence), done.stderr


@pytest.mark.parametrize(
    "module, arguments, sentence",
    [
        ("explain", ["depht=3"], "depht is not a known key (did you mean depth?); the config has: a, b, c, depth"),
        (
            "prepare",
            ["datasets=[glyph]"],
            "datasets has 'glyph': data=glyph does not exist (did you mean data=glyphs?)",
        ),
        ("report", ["paths.result=x"], "paths.result is not a known key (did you mean paths.results?)"),
        ("status", [], "name is missing; give it a value."),
        ("reproduce", ["experiment=maml", "row=[mu_limit]"], "row is not a known key (did you mean rows?)"),
    ],
)
def test_every_command_answers_in_a_sentence(module, arguments, sentence):
    done = command(module, *arguments, check=False)
    assert refused(done, sentence), done.stderr


@pytest.mark.parametrize("at", ["infwidth", "numpy", "torch.nn"])
def test_an_interruption_of_the_start_is_one_word(at):
    assert interrupted("train", at, "scale=demo", "logger=none", "paths.results=/dev/null") == (130, "interrupted")


@pytest.mark.parametrize(
    "module, at", [("report", "pandas"), ("reproduce", "torch"), ("prepare", "numpy"), ("status", "yaml")]
)
def test_every_command_can_be_interrupted_while_it_starts(module, at):
    assert interrupted(module, at) == (130, "interrupted")


@pytest.mark.parametrize(
    "error, status, said",
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ConfigError("the key is wrong."), 2, "error: the key is wrong.\n"),
        (
            PermissionError(13, "Permission denied", "/a/file"),
            2,
            "error: /a/file cannot be read or written (Permission denied); see to it, or name another.\n",
        ),
    ],
)
def test_errors_and_interruptions_of_a_command(error, status, said, capsys):
    with pytest.raises(SystemExit) as e, sentences():
        raise error
    assert e.value.code == status and capsys.readouterr().err == said


def test_a_job_whose_process_is_killed_is_a_sentence(monkeypatch, capsys):
    def broken(config):
        raise BrokenProcessPool

    monkeypatch.setattr(hydra, "main", lambda **_: lambda job: lambda: broken(None))
    monkeypatch.setattr(sys, "argv", ["status"])
    with pytest.raises(SystemExit) as e:
        made_command(COMMANDS, "status")(broken)()
    assert e.value.code == 2 and "the process of a job was killed" in capsys.readouterr().err


def test_a_fault_of_ours_is_a_traceback_and_a_sweep_goes_on_past_it(monkeypatch, capsys):
    def faulty(config):
        raise ZeroDivisionError

    for mode, ends in ((RunMode.RUN, pytest.raises(ZeroDivisionError)), (RunMode.MULTIRUN, nullcontext())):
        monkeypatch.setattr(HydraConfig, "get", lambda mode=mode: OmegaConf.create({"mode": mode}))
        monkeypatch.setattr(hydra, "main", lambda **_: lambda job: lambda: job(None))
        monkeypatch.setattr(sys, "argv", ["status"])
        with ends:
            made_command(COMMANDS, "status")(faulty)()
    assert capsys.readouterr().err.rstrip().endswith("ZeroDivisionError")


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
        check=False,
    )
    assert done.returncode == 1 and "12 jobs; 8 finished, 0 diverged, 4 failed" in done.stdout
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
    summaries = [
        json.loads(p.read_text()) for p in (tmp_path / "a/results/runs/own_maml_omniglot").glob("*/summary.json")
    ]
    assert len(summaries) == 4 and all(s["status"] == "finished" for s in summaries)
    alone = train.run(small(tmp_path / "b", "model.width=16", "seed=1", "trainer.threads=1"))
    assert next(s for s in summaries if s["id"] == alone["id"])["metrics"] == alone["metrics"]


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
        and "error: WANDB_MODE is 'banana'; choose one of: online, offline, disabled." in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize("name", ["../outside", "a/b", ""])
def test_a_name_that_is_no_folder_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="it becomes a folder"):
        train.run({**small(tmp_path), "name": name})


def test_results_that_are_no_folder_are_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for results, said in [
        ("", "paths.results is empty"),
        ("x" * 300, "too long a name"),
        (None, "paths.results must be a text, not null"),
        (str(file), "which is a file; name a folder"),
        (str(file / "below"), "cannot be a folder"),
        ("a\0b", "cannot be a folder"),
    ]:
        with pytest.raises(ConfigError, match=said):
            train.run({**small(tmp_path), "paths": {"results": results}})


@pytest.mark.parametrize(
    "overrides, said",
    [
        (["task.name=words"], "task.name is 'words'; choose one of: cifar10, maml_omniglot, word2vec"),
        (["model.name=deep"], "model.name is 'deep'; choose one of: finite"),
        (
            ["task=cifar10", "model=pi_limit", "parametrization=ntk"],
            "model=pi_limit is what it is in one parametrization only, not in parametrization=ntk",
        ),
    ],
)
def test_unknown_names_and_a_parametrization_that_a_model_cannot_take(overrides, said, tmp_path):
    done = command("train", "scale=demo", "logger=none", *overrides, folder=tmp_path, check=False)
    assert done.returncode == 2 and said in done.stderr and not (tmp_path / "results" / "runs").exists()

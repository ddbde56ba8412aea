"""A model, a task and a dataset of one's own: a module and a config file each, in tests/toys, and no other change."""

import json
import re

import pandas as pd
import pytest

from infwidth import train
from infwidth.config import load
from infwidth.errors import ConfigError
from infwidth.runs.compose import composed
from tests.commands import command
from tests.conftest import REPOSITORY
from tests.toys.parity import ParityConfig
from tests.toys.random_features import RandomFeaturesConfig
from tests.toys.stripes import StripesConfig

TOYS = REPOSITORY / "tests" / "toys"
ONCE = ["logger=none", "trainer.progress=false", "trainer.clip=null", "trainer.learning_rate=1", "trainer.epochs=6"]
TEXT = ["data=planted_corpus", "data.running_words=2000"]
BOTH = ["task=parity", "model=random_features"]


def config(folder, *overrides):
    """The config of a run, the toys' folder beside ours on Hydra's search path."""
    own = f"hydra.searchpath=[file://{TOYS}/conf]"
    places = [f"paths.results={folder}/results", f"data.root={folder}/data"]
    return composed("train", [own, *ONCE, *places, *overrides])


def test_both_are_trained_swept_and_reported_on_the_command_line(tmp_path):
    toys = ["--config-dir", "tests/toys/conf"]
    command("train", *toys, "-m", *BOTH, *ONCE, "name=toys", "model.width=4,256", "seed=0,1", folder=tmp_path)
    done = command("report", f"paths.results={tmp_path}/results")
    assert "Sweep: toys" in done.stdout
    table = pd.read_csv(tmp_path / "results/toys/table.csv").set_index("model.width")
    assert (table.seeds == 2).all() and table["mean"][256] > 75 and table["mean"][256] > table["mean"][4] + 5
    assert (tmp_path / "results/toys/accuracy.png").stat().st_size > 1000
    assert "Sweep: toys" in (tmp_path / "results/index.html").read_text()


def test_a_run_of_both_is_selected_resumed_and_skipped_like_any_other(tmp_path, capsys):
    summary = train.run(config(tmp_path, *BOTH))
    folder = tmp_path / "results/runs" / summary["name"] / summary["id"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = max(row["validation/accuracy"] for row in rows if "validation/accuracy" in row)
    assert summary["status"] == "finished" and summary["metrics"]["validation/accuracy"] == best
    assert (folder / "features.npz").exists() and (folder / "checkpoints/best.safetensors").exists()
    assert train.run(config(tmp_path, *BOTH)) == summary and "already finished" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["mu_limit", "ntk_limit", "finite"])
def test_the_task_goes_with_our_models(model, tmp_path):
    summary = train.run(config(tmp_path, "task=parity", f"model={model}", "trainer.learning_rate=0.05"))
    assert summary["metrics"]["test/accuracy"] > 75


def test_the_model_goes_with_our_tasks(tmp_path):
    images = ["task=cifar10", "data=digits", "model=random_features", "trainer.learning_rate=4"]
    assert train.run(config(tmp_path, *images))["metrics"]["test/accuracy"] > 75


def test_the_dataset_goes_with_both(tmp_path):
    summary = train.run(config(tmp_path, *BOTH, "data=stripes"))
    assert summary["data"]["label"] == "stripes" and summary["metrics"]["test/accuracy"] > 75


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["task=word2vec", *TEXT], "has inputs that are bags of indices, which model=tests.toys"),
        (["task=maml_omniglot", "data=glyphs"], "does not adapt to episodes"),
        (["task=parity", *TEXT], "works on images, but data=planted_corpus holds text"),
        ([*BOTH, "parametrization=mup"], "is what it is in one parametrization only"),
        ([*BOTH, "model.width=0"], "model.width is 0; it must be at least 1"),
        ([*BOTH, "task.batch=many"], "task.batch must be a whole number, not 'many'"),
        ([*BOTH, "model.name=tests.toys.parity"], "which does not define FAMILY"),
    ],
)
def test_what_does_not_go_together_says_why(overrides, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train.run(config(tmp_path, "model=random_features", *overrides))


def test_the_config_files_say_what_the_defaults_are():
    found = composed("train", [f"hydra.searchpath=[file://{TOYS}/conf]", *BOTH, "data=stripes"])
    data = {k: v for k, v in found["data"].items() if k not in ("root", "mirror")}
    assert load(RandomFeaturesConfig, found["model"], "model") == RandomFeaturesConfig()
    assert load(ParityConfig, found["task"], "task") == ParityConfig()
    assert load(StripesConfig, data, "data") == StripesConfig()


def lines(text):
    """The lines of some code without indentation and empty lines, each ended, to look one text up in another."""
    return "\n".join(["", *(line.strip() for line in text.splitlines() if line.strip()), ""])


def test_the_guide_shows_the_lines_that_are_there():
    guide = (TOYS / "README.md").read_text()
    code = [lines(path.read_text()) for path in TOYS.glob("*.py")]
    blocks = re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 10
    for block in blocks:
        assert any(lines(block) in text for text in code), block
    for link in re.findall(r"\]\(([^)]+)\)", guide):
        assert (TOYS / link).exists(), link

"""conf: every published row composes, comments and defaults say what the code says, and no file is left unread."""

import dataclasses
import re
import typing
from pathlib import Path

import pytest
import yaml

from infwidth.data.catalog import obtain
from infwidth.models import family
from infwidth.parametrization import ABC, ParametrizationConfig
from infwidth.runs.compose import CONF, composed
from infwidth.runs.spec import SCALES, LoggerConfig, specified
from infwidth.tasks import description
from infwidth.training.trainer import TrainerConfig
from tests.conftest import REPOSITORY

FOLDER = Path(CONF)
FILES = sorted(FOLDER.rglob("*.yaml"))
PUBLISHED = {
    p.relative_to(FOLDER / "experiment").with_suffix("").as_posix(): p.read_text()
    for p in sorted((FOLDER / "experiment").rglob("*.yaml"))
}


def names(group):
    """What a group of conf can be set to."""
    return {p.stem for p in (FOLDER / group).glob("*.yaml")}


def rows_and_scales():
    """Every row at one scale; the first of an experiment and a model at all, as others differ little from it."""
    seen = set()
    for i, (row, text) in enumerate(PUBLISHED.items()):
        model = re.search("override /model: ([a-z_]+)", text)  # else that of its base
        kind = (row.split("/")[0], model and model[1])
        yield from ((row, scale) for scale in (SCALES if kind not in seen else SCALES[i % 3 : i % 3 + 1]))
        seen.add(kind)


@pytest.mark.parametrize("row, scale", list(rows_and_scales()))
def test_published_rows_compose_and_are_valid(row, scale):
    config = composed("train", [f"experiment={row}", f"scale={scale}"])
    assert (config["name"], config["row"]) == tuple(row.split("/")) and config["scale"] == scale
    assert config["paths"]["results"] == ("results/demo" if scale == "demo" else "results")
    specified(config)


def test_candidates_are_keys_of_their_rows():
    for path in sorted((REPOSITORY / "experiments").glob("*/recipe.yaml")):
        for row, candidates in yaml.safe_load(path.read_text()).get("candidates", {}).items():
            config = composed("train", [f"experiment={path.parent.name}/{row}"])
            for key, values in candidates.items():
                group, name = key.split(".")
                assert name in config[group] and values


@pytest.mark.parametrize(
    "task, data",
    [
        ("cifar10", ("digits", "cifar10", "cifar10")),
        ("maml_omniglot", ("glyphs", "omniglot", "omniglot")),
        ("maml_pi", ("glyphs", "omniglot", "omniglot")),
        ("word2vec", ("planted_corpus", "text8_or_simple8", "text8")),
    ],
)
def test_a_task_has_data_for_every_scale(task, data):
    for scale, name in zip(SCALES, data, strict=True):
        assert composed("train", [f"task={task}", f"scale={scale}"])["data"]["name"] == name


@pytest.mark.parametrize("task", sorted(names("task")))
def test_a_run_of_ones_own_is_not_named_as_an_experiment(task):
    assert composed("train", [f"task={task}"])["name"] not in {p.name for p in (REPOSITORY / "experiments").iterdir()}


@pytest.mark.parametrize(
    "overrides, key, value",
    [
        (["task=cifar10", "model=mu_limit"], "trainer.epochs", 100),  # the trainer's
        (["task=word2vec", "model=finite", "scale=paper"], "trainer.epochs", 15),  # of the task and the model
        (["experiment=maml/relu_ntk"], "trainer.epochs", 0),  # the same, in an experiment that does not change them
        (["experiment=maml/relu_ntk_trained"], "trainer.epochs", 2),  # the experiment's
        (["experiment=maml/width_512", "scale=demo"], "trainer.epochs", 20),  # of the scale
        (["experiment=maml/width_512", "scale=demo", "trainer.epochs=7"], "trainer.epochs", 7),
        (["task=cifar10", "data=digits"], "task.subset", 1000),  # of the data, at a scale that says 10,000
        (["task=cifar10", "data=digits", "task.subset=500"], "task.subset", 500),
        (["experiment=cifar10/nngp_full", "data=digits"], "task.validation_images", 0),  # of the model on that data
        (["experiment=maml/width_512", "data=glyphs"], "data.name", "glyphs"),
    ],
)
def test_what_wins(overrides, key, value):
    group, name = key.split(".")
    assert composed("train", overrides)[group][name] == value


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("model", ["finite", "ntk_limit", "pi_limit"])
def test_digits_fit_the_task_at_every_scale(model, scale, tmp_path):
    config = composed(
        "train", ["task=cifar10", "data=digits", f"model={model}", f"scale={scale}", f"data.root={tmp_path}"]
    )
    spec = specified(config)
    task = spec.build_task(obtain(config["data"]), "cpu")
    x = task.training_set()[0]
    assert x.shape == (1000, 64) and abs(x.mean()) < 0.1 and abs(x.std() - 1) < 0.1


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(FOLDER).as_posix())
def test_a_file_says_what_it_is_in_lines_that_fit(path):
    lines = path.read_text().splitlines()
    heading = lines[1] if lines[0].startswith("# @package") else lines[0]
    assert heading.startswith("# ") and not heading.startswith("# @")
    assert max(map(len, lines)) <= 120


def test_every_file_of_settings_is_read():
    """By its name, for a combination of choices, or by another file."""
    choices = {group: names(group) for group in ("task", "model", "scale", "data")}
    lists = [yaml.safe_load(p.read_text()).get("defaults", []) for p in FILES if yaml.safe_load(p.read_text())]
    included = {entry.split("/")[-1].split("@")[0] for entries in lists for entry in entries if isinstance(entry, str)}
    for path in sorted((FOLDER / "settings").rglob("*.yaml")):
        looked_up = {""}
        for group in path.parent.name.split("_"):
            looked_up = {f"{start}_{choice}" for start in looked_up for choice in choices[group]}
        assert f"_{path.stem}" in looked_up or path.stem in included, f"{path} is never read"


def declared():
    """(file, the dataclass of its keys) of what is described in code under the name of its file."""
    for path in sorted((FOLDER / "task").glob("*.yaml")):
        if yaml.safe_load(path.read_text()).get("name") == path.stem:
            yield pytest.param(path, description.find(path.stem).config, id=f"task/{path.stem}")
    for path in sorted((FOLDER / "model").glob("*.yaml")):
        yield pytest.param(path, family.find(path.stem).config, id=f"model/{path.stem}")
    yield pytest.param(FOLDER / "trainer/default.yaml", TrainerConfig, id="trainer/default")
    for path in sorted((FOLDER / "logger").glob("*.yaml")):
        yield pytest.param(path, LoggerConfig, id=f"logger/{path.stem}")


def as_written(value):
    """A default as YAML has it."""
    if dataclasses.is_dataclass(value):
        return {f.name: as_written(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("path, config", list(declared()))
def test_a_file_shows_the_defaults_of_the_code(path, config):
    shown = {k: v for k, v in yaml.safe_load(path.read_text()).items() if k not in ("defaults", "name")}
    defaults = {f.name: as_written(f.default) for f in dataclasses.fields(config) if f.name != "name"}
    if path.parent.name == "logger":  # conf/logger/none.yaml has no use for the others
        defaults = {k: v for k, v in defaults.items() if k in shown}
    assert shown == defaults


def comment_of(key, text):
    """The comment at a key, with the lines that go on with it."""
    found = re.search(rf"^ *{key}:[^#\n]*((?:#.*\n *)+)", text, re.MULTILINE)
    return re.sub(r"\n *# ?", " ", found[1]) if found else ""


def listed(comment):
    """The words of a list such as ``# adam | sgd (as null): ...``."""
    found = re.match(r"#.*?(\w+(?: \([^)]*\))?(?: \| \w+(?: \([^)]*\))?)+)", comment)
    return {re.match(r"\w+", word)[0] for word in found[1].split(" | ")} if found else set()


def choices_of(config):
    """Every key that takes one of several words, in a dataclass and those within it."""
    for name, hint in typing.get_type_hints(config).items():
        if dataclasses.is_dataclass(hint):
            yield from choices_of(hint)
        for part in (hint, *typing.get_args(hint)):
            if typing.get_origin(part) is typing.Literal and name != "name" and len(typing.get_args(part)) > 1:
                yield name, set(typing.get_args(part))


@pytest.mark.parametrize("path, config", list(declared()))
def test_comments_list_what_a_key_can_be(path, config):
    text = path.read_text()
    for name, choices in choices_of(config):
        if not re.search(rf"^ *{name}:", text, re.MULTILINE):
            assert path.stem == "none"
        elif not (path.stem == "nngp_limit" and name == "kernel"):  # the other kernel is the NTK's
            assert listed(comment_of(name, text)) == choices, name


def test_comments_list_the_files_of_a_group():
    text = (FOLDER / "train.yaml").read_text()
    for group in ("scale", "logger"):
        assert listed(comment_of(f"- {group}", text)) == names(group)
    text = (FOLDER / "command/reproduce.yaml").read_text()
    assert listed(comment_of("scale", text)) == names("scale")
    text = (FOLDER / "command/explain.yaml").read_text()
    assert listed(comment_of("parametrization", text)) == names("parametrization") - {"auto", "custom"}
    assert set(yaml.safe_load((FOLDER / "command/prepare.yaml").read_text())["datasets"]) <= names("data")


@pytest.mark.parametrize("name", sorted(names("parametrization")))
def test_every_parametrization_is_one(name):
    keys = yaml.safe_load((FOLDER / "parametrization" / f"{name}.yaml").read_text())
    assert keys.pop("name") == name
    keys = {k: tuple(v) if isinstance(v, list) else v for k, v in keys.items()}
    own = ABC((-0.5, 0.5), (0.5, 0.5), 0)
    assert ParametrizationConfig(name=name, **keys).build(own).depth == 1

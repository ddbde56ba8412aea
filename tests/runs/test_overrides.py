"""Overrides that do not fit: which, what may have been meant, what there is."""

from pathlib import Path

import pytest

from infwidth.errors import ConfigError
from infwidth.runs import overrides
from infwidth.runs.compose import CONF, composed


def sentence(*given):
    with pytest.raises(ConfigError) as e:
        composed("train", given)
    return str(e.value)


@pytest.mark.parametrize(
    "given, said",
    [
        ("experiment=maml", "experiment=maml does not exist; choose one of: bounded_cifar10/..., "),
        ("experiment=mamml/width_32", "(did you mean experiment=maml/width_32?); choose one of: bounded_cifar10/..., "),
        ("data=mnist", "data=mnist does not exist; choose one of: cifar10, digits, fil9"),
        ("scale=moon", "scale=moon does not exist; choose one of: cpu, demo, paper."),
        ("model/first=finite", "model/first is not a group; there are: "),
        ("~logger", "~logger takes a group away, which a run needs; choose one of: none, wandb."),
        ("+model=finite", "+model=finite does not choose a model; write model=finite."),
        ("model@first=finite", "model@first=finite does not choose a model; write model=finite."),
        ("hydra/launcher=jobli", "(did you mean hydra/launcher=joblib?); choose one of: basic, joblib, "),
    ],
)
def test_choices(given, said):
    assert said in sentence(given)


@pytest.mark.parametrize("group", ["task", "data", "model", "parametrization", "trainer", "logger", "experiment"])
def test_nothing_is_no_choice(group):
    assert sentence(f"{group}=null").startswith(f"{group}=null chooses nothing; choose one of: ")


@pytest.mark.parametrize(
    "given, said",
    [
        ("widht=3", "widht is not a known key (did you mean model.width?); the config has: "),
        ("learning_rate=1", "learning_rate is not a known key (did you mean trainer.learning_rate?)"),
        ("trainer.width=1", "trainer.width is not a known key (did you mean model.width?); trainer has: epochs, "),
        ("tasks.shots=1", "tasks.shots is not a known key (did you mean task.shots?)"),
        ("modle=finite", "modle is not a known key (did you mean model?)"),
        ("model.rank=1", "model.rank is not a known key; model (finite) has: name, width"),
        ("model.width.x=1", "model.width.x does not exist: model.width is a key and not a group of keys."),
        ("+model.width=3", "+model.width=3 would add a key that is there; write it without the plus sign."),
        ("~model.widht", "model.widht is not a known key (did you mean model.width?)"),
        ("hydra.mod=RUN", "hydra.mod is not a known key (did you mean hydra.mode?)"),
    ],
)
def test_keys(given, said):
    found = sentence("model=finite", given)
    assert said in found and "use +" not in found


@pytest.mark.parametrize(
    "given, said",
    [
        ("seed=[0,1", "'seed=[0,1' cannot be read (no viable alternative at input '[0,1'); write key=value"),
        ("seed", "'seed' cannot be read"),
        (f"seed={10**4200}{10**4200}", "0...' cannot be read (Exceeds the limit"),
        ("seed=0,1", "seed=0,1 has several values; add -m to sweep over them, or write seed=[0,1] for a list."),
        ("seed=${nothing}", "seed cannot be made out (Interpolation key 'nothing' not found)"),
    ],
)
def test_values(given, said):
    assert said in sentence(given)


def test_jobs_are_numbered_as_hydra_numbers_them():
    assert overrides.jobs(["model.width=8,16", "model=finite", "seed=0,1"]) == [
        ["model.width=8", "model=finite", "seed=0"],
        ["model.width=8", "model=finite", "seed=1"],
        ["model.width=16", "model=finite", "seed=0"],
        ["model.width=16", "model=finite", "seed=1"],
    ]
    assert len(overrides.jobs(["seed=range(5)"])) == 5
    with pytest.raises(ConfigError, match="cannot be read"):
        overrides.jobs(["seed=[0,1"])
    with pytest.raises(ConfigError, match="is no sweep"):
        overrides.jobs(["seed=interval(0,1)"])


def test_what_is_refused_by_hydra_for_its_own_reasons_is_one_line():
    said = overrides.misfit(["a=1"], Path(CONF), ValueError("first.\nsecond"))
    assert said == "the config of a=1 does not compose: first"

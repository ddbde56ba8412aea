"""The defaults of a task's keys are beside its code; conf/task shows the same."""

import pytest
import yaml

from infwidth.config import load
from infwidth.tasks.description import find
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("name", ["cifar10", "maml_omniglot", "word2vec"])
def test_conf_shows_the_defaults_and_every_key(name):
    shown = yaml.safe_load((REPOSITORY / "conf" / "task" / f"{name}.yaml").read_text())
    shown.pop("defaults", None)  # Hydra's own
    keys = find(name).config
    assert load(keys, shown, "task") == load(keys, {}, "task")
    assert shown.keys() == keys.__dataclass_fields__.keys()

"""Models and tasks are found by name; what is wrong with a name or with a user's own module is said in a sentence."""

import textwrap

import pytest
import yaml

from infwidth import models, sources, tasks
from infwidth.described import described, known
from infwidth.errors import ConfigError
from infwidth.models.family import Family, find
from infwidth.tasks.description import find as find_task
from tests.conftest import REPOSITORY


def names_in(group):
    """What the files of a config group call themselves, but for those that are differences from another one."""
    shown = [yaml.safe_load(path.read_text()) for path in (REPOSITORY / "conf" / group).glob("*.yaml")]
    return sorted({file["name"] for file in shown if "name" in file})


def test_every_name_in_conf_is_known_and_every_known_name_is_in_conf():
    assert known(models, "FAMILY") == names_in("model") and known(tasks, "TASK") == names_in("task")
    assert all(find(name).name == name for name in known(models, "FAMILY"))
    assert all(find_task(name).name == name for name in known(tasks, "TASK"))


@pytest.mark.parametrize(
    "name, message",
    [
        ("mu_limt", "model.name is 'mu_limt'; choose one of: finite, .* .did you mean mu_limit.., or name a module"),
        ("words", "model.name is 'words'; choose one of: finite, .*, or name a module of your own that defines FAMILY"),
        ("linear", "model.name is 'linear'; "),  # a package beside the families that describes none
        ("../finite", "model.name is '../finite'; choose one of"),
        ("os.path", "'os.path', which does not define FAMILY; choose one of: finite"),
        ("nowhere.at_all", "'nowhere.at_all'; choose one of: finite, .*: Python finds no module nowhere."),
        ("", "model.name is ''; choose one of"),
        (None, "model.name is None; choose one of"),
        (["finite"], "choose one of"),
        ("infwidth.models.finite", "whose FAMILY calls itself 'finite'; give both the module's name"),
    ],
)
def test_names_that_no_model_has(name, message):
    with pytest.raises(ConfigError, match=message):
        find(name)


OWN = {
    "sound": "FAMILY = Family('my_{}', dict)",
    "failing": "FAMILY = Family('my_{}', dict)\nprint(1 / 0)",
    "needing": "import a_package_that_nobody_has",
    "unfinished": "FAMILY = Family(",
    "of_another_type": "FAMILY = 'my_{}'",
    "of_another_name": "FAMILY = Family('finite', dict)",
    "without_any": "FAMILIES = []",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Modules of a user's own, in a package on Python's path."""
    (tmp_path / "my_models").mkdir()
    for name, text in OWN.items():
        text = "from infwidth.models.family import Family\n" + text.format("models." + name)
        (tmp_path / "my_models" / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    "name, message",
    [
        ("failing", r"cannot be imported \(ZeroDivisionError: division by zero, in .*failing.py, line 3\); correct it"),
        ("needing", r"\(ModuleNotFoundError: No module named 'a_package_that_nobody_has', in .*needing.py, line 2\)"),
        ("unfinished", r"\(SyntaxError: .*unfinished.py, line 2\)"),
        ("of_another_type", "whose FAMILY is of type str; make it a infwidth.models.family.Family"),
        ("of_another_name", "whose FAMILY calls itself 'finite'; give both the module's name"),
        ("without_any", "which does not define FAMILY"),
        ("missing", "Python finds no module my_models.missing"),
    ],
)
def test_modules_of_ones_own_that_do_not_do(own, name, message):
    with pytest.raises(ConfigError, match=f"model.name is 'my_models.{name}'.*{message}"):
        find(f"my_models.{name}")


def test_a_module_of_ones_own_that_does(own):
    found = described("my_models.sound", models, "FAMILY", Family, "model")
    assert isinstance(found, Family) and found.name == "my_models.sound"
    # Its text is kept, as that of the project's modules: it decides a run's numbers.
    assert b"FAMILY = Family" in sources.imported({"my_models"})["my_models.sound"]

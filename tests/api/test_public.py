"""What is public: one list, imported lazily, documented, and with examples that are true."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import infwidth
import infwidth.api
from infwidth import public
from infwidth.api.deprecated import deprecated
from infwidth.runs import fingerprint
from tests.conftest import REPOSITORY

NAMES = [name for name in infwidth.__all__ if name != "__version__"]
MODULES = [f"infwidth.api.{module.name}" for module in pkgutil.iter_modules(infwidth.api.__path__)]

HEAVY = (
    "hydra",
    "omegaconf",
    "wandb",
    "matplotlib",
    "sklearn",
    "learn2learn",
    "pandas",
    "gensim",
    "torchvision",
    "yaml",
)


def fresh(code):
    """What a fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_is_there_and_says_what_it_is():
    assert {"pi_limit", "fit", "SGD", "abc", "load", "coordinate_check"} < set(NAMES)
    assert set(infwidth.__all__) <= set(dir(infwidth))
    for name in NAMES:
        found = getattr(infwidth, name)
        assert found is getattr(importlib.import_module(public.names()[name]), name)
        assert found.__doc__ and not found.__doc__.startswith(f"{name}(")


def test_a_name_that_is_not_public_is_none_of_the_packages():
    with pytest.raises(AttributeError, match="module 'infwidth' has no attribute 'pi_limits'"):
        infwidth.pi_limits  # noqa: B018


def test_no_public_name_is_that_of_a_module():
    """``from infwidth import train`` is a command; a public name that is a module's would be one or the other, as
    chance has it."""
    folder = Path(infwidth.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert not modules & set(NAMES)


@pytest.mark.parametrize("name", [n for n in NAMES if callable(getattr(infwidth, n))])
def test_arguments_and_results_have_types(name):
    found = getattr(infwidth, name)
    if inspect.isclass(found):
        return
    parameters = inspect.signature(found).parameters.values()
    assert all(p.annotation is not p.empty for p in parameters)
    assert inspect.signature(found).return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize("module", MODULES)
def test_examples_are_true(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_every_function_has_an_example():
    for name in NAMES:
        if inspect.isfunction(getattr(infwidth, name)) and name != "load":  # save's example loads
            assert ">>> " in getattr(infwidth, name).__doc__, name


def test_importing_the_package_imports_no_more_than_it_needs():
    assert fresh("import infwidth, sys; print('torch' in sys.modules, 'infwidth.api' in sys.modules)") == "False False"
    everything = "import infwidth, sys\nfor name in infwidth.__all__: getattr(infwidth, name)\n"
    assert fresh(f"{everything}print([m for m in {HEAVY!r} if m in sys.modules])") == "[]"


def test_a_module_that_is_not_imported_yet_does_not_import_what_is_public():
    assert fresh("from infwidth import config; import sys; print('infwidth.api' in sys.modules)") == "False"


def test_what_is_public_is_no_part_of_a_runs_code():
    for name in NAMES:
        getattr(infwidth, name)
    found = fingerprint.current(["infwidth.models.pi_limit", "infwidth.training.trainer"])
    assert "infwidth.models.pi.limit" in found.statements and "infwidth" in found.statements
    assert not [module for module in found.statements if module.startswith("infwidth.api")]


def test_the_list_is_an_import_for_type_checkers():
    """Names re-exported in a stub count as public only where they are imported under their own name."""
    for node in ast.parse(public.STUB.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            assert all(alias.asname == alias.name for alias in node.names)
    assert (public.STUB.parent / "py.typed").exists()


def test_what_is_given_up_warns_and_goes_on_working():
    @deprecated(since="0.2", instead="infwidth.fit")
    def learn(x, *, times=1):
        """Learn x."""
        return times * x

    with pytest.warns(
        DeprecationWarning, match="learn is deprecated since infwidth 0.2 .*; use infwidth.fit."
    ) as found:
        assert learn(3, times=2) == 6
    assert found[0].filename == __file__ and learn.__doc__ == "Learn x."

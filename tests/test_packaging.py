"""What is installed: requirements of the library and of the experiments, the lock, the container, the console."""

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infwidth import console, places
from infwidth.errors import InfwidthError
from tests.api.test_public import fresh
from tests.conftest import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib

    PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
else:
    PROJECT = None

needs_toml = pytest.mark.skipif(PROJECT is None, reason="Python reads TOML from 3.11 on")


def name_of(requirement):
    """'hydra-core' of 'hydra_core>=1.3'."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def pinned(file):
    """Name to version of a file of requirements."""
    lines = [line.partition("#")[0].strip() for line in (REPOSITORY / file).read_text().splitlines()]
    return {name_of(line): re.match(r"[\w.-]+==(\S+)", line)[1] for line in lines if line}


def imported_by(files):
    """The packages of others that modules import at their top; what a function imports is for who calls it to have."""
    found = set()
    for file in files:
        for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            found |= {name.partition(".")[0] for name in names}
    return found - set(sys.stdlib_module_names) - {"infwidth"}


def files_of_the_library():
    """The modules of infwidth that a Python has imported which has asked for every public name."""
    code = (
        "import infwidth, sys\nfor name in infwidth.__all__: getattr(infwidth, name)\n"
        "print(*[m.__file__ for k, m in sys.modules.items() if k.split('.')[0] == 'infwidth'], sep='\\n')"
    )
    return fresh(code).splitlines()


@needs_toml
def test_the_library_requires_what_it_imports_and_no_more():
    assert {name_of(r) for r in PROJECT["dependencies"]} == imported_by(files_of_the_library())


@needs_toml
def test_extras_are_pinned_for_the_experiments():
    ours = pinned("requirements.txt")
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    for requirement in wanted:
        if name_of(requirement) != "infwidth":
            at_least = re.search(r">=([\d.]+)", requirement)[1]
            version = ours[name_of(requirement)]
            assert [int(n) for n in version.split(".")[:2]] >= [int(n) for n in at_least.split(".")[:2]], requirement


@needs_toml
def test_every_package_that_the_commands_import_is_in_an_extra():
    extras = PROJECT["optional-dependencies"]
    brought = {name_of(r) for r in [*PROJECT["dependencies"], *extras["experiments"]]}
    brought |= {"omegaconf", "pyyaml", "pillow"}  # by hydra-core, and torchvision
    found = imported_by((REPOSITORY / "src/infwidth").rglob("*.py"))
    distributions = importlib.metadata.packages_distributions()
    assert {name_of(distributions[name][0]) for name in found} <= brought


def test_the_lock_has_every_version_and_nowhere_from():
    lock, text = pinned("requirements.lock"), (REPOSITORY / "requirements.lock").read_text()
    assert pinned("requirements.txt").items() <= lock.items()
    assert "://" not in text and "@" not in text and "--" not in text.replace("`make", "")
    for package in ("torch", "numpy", "scipy", "hydra-core", "wandb", "learn2learn"):
        for requirement in importlib.metadata.requires(package) or []:
            if ";" not in requirement:
                assert name_of(requirement) in lock, f"{package} needs {requirement}"


def test_the_container_is_made_by_the_same_setup():
    lines = (REPOSITORY / "Containerfile").read_text().splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith(("#", " "))]
    (base,) = [rest for word, rest in instructions if word == "FROM"]
    assert re.fullmatch(r"docker\.io/library/python:3\.1[0-2]\.\d+-\w+", base)
    copied = [name for word, rest in instructions if word == "COPY" for name in rest.split()[:-1]]
    assert all((REPOSITORY / name).exists() for name in copied) and "." in copied
    at = instructions.index(["RUN", "make setup LOCK=requirements.lock"])
    before = {name for word, rest in instructions[:at] if word == "COPY" for name in rest.split()[:-1]}
    assert {"Makefile", "pyproject.toml", "requirements.txt", "requirements.lock", "src", "README.md"} <= before


def test_make_setup_takes_the_lock():
    asked = ["make", "--dry-run", "--always-make", "setup", "LOCK=requirements.lock"]
    done = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "--requirement requirements.txt --constraint requirements.lock" in done.stdout


def test_configs_and_recipes_are_where_the_package_is_installed_or_in_the_repository(tmp_path, monkeypatch):
    assert places.CONF == REPOSITORY / "conf" and places.EXPERIMENTS == REPOSITORY / "experiments"
    (tmp_path / "conf").mkdir()
    monkeypatch.setattr(places, "PACKAGE", tmp_path)
    assert places.of("conf") == tmp_path / "conf"


def test_the_console_has_every_command():
    names = console.commands()
    assert {"train", "reproduce", "report", "explain", "status", "prepare", "replay"} <= set(names)
    shown = console.overview()
    for name in names:
        assert hasattr(__import__(f"infwidth.{name}", fromlist=["main"]), "main")
        (line,) = [line for line in shown.splitlines() if line.split()[:1] == [name]]
        assert len(line.split()) > 2 and len(line) < 120


def infwidth(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "infwidth", *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )


def test_the_console_command_is_the_module():
    done = infwidth("explain", "parametrization=mup", "depth=2")
    assert done.returncode == 0 and "regime: feature learning" in done.stdout, done.stderr
    done = infwidth("explain", "depht=2")
    assert done.returncode == 2 and done.stderr.startswith("error: depht is not a known key (did you mean depth?)")


def test_what_is_no_command_is_a_sentence():
    done = infwidth("trian")
    assert done.returncode == 2 and done.stderr.startswith(
        "error: infwidth has no command 'trian' (did you mean train?)"
    )
    assert infwidth("--version").stdout.strip() == importlib.import_module("infwidth").__version__


def test_a_package_that_is_missing_is_named_with_what_brings_it(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'hydra.core'", name="hydra.core")

    monkeypatch.setattr(console.importlib, "import_module", missing)
    monkeypatch.setattr(sys, "argv", ["infwidth"])
    with pytest.raises(InfwidthError, match=r"infwidth train needs hydra, .* pip install 'infwidth\[experiments\]'"):
        console.carry_out("train", [])

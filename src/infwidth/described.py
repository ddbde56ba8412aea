"""Model families, tasks and datasets are found by name: a module that describes itself, in the folder of its kind.

``described("pi_limit", infwidth.models, "FAMILY", ...)`` imports the module ``infwidth.models.pi_limit``, and it alone.
A name with a dot is a module of the user's own. So there is no list of names to be kept in step with the folder.
"""

import difflib
import importlib
import re
import traceback
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from infwidth import sources
from infwidth.errors import ConfigError

DECIDES_NUMBERS = False

T = TypeVar("T")


def described(name: object, package: ModuleType, attribute: str, kind: type[T], what: str) -> T:
    """The description, an instance of ``kind``, that a module holds in ``attribute``.

    what: the config group that names it, for messages. ConfigError for a name that no module has, and for a module of
    the user's own that fails or does not describe itself.
    """
    names = known(package, attribute)
    choices = (
        f"choose one of: {', '.join(names)}{_meant(name, names)}, or name a module of your own that defines "
        f"{attribute}, such as my_package.my_{what}"
    )
    if isinstance(name, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", name):
        return _own(name, attribute, kind, what, choices)
    if name not in names:
        raise ConfigError(f"{what}.name is {name!r}; {choices}.")
    return getattr(importlib.import_module(module_of(name, package)), attribute)


def module_of(name: str, package: ModuleType) -> str:
    """The module that a description is found in by its name."""
    return name if "." in name else f"{package.__name__}.{name}"


def known(package: ModuleType, attribute: str) -> list[str]:
    """The names of all modules of the package that define ``attribute``, read without importing them."""
    folder, defines = Path(package.__path__[0]), re.compile(rf"^{attribute} = ", re.MULTILINE)
    files = {path.stem: path for path in folder.glob("*.py")} | {p.parent.name: p for p in folder.glob("*/__init__.py")}
    return sorted(name for name, path in files.items() if defines.search(path.read_text()))


def _meant(name: object, names: list[str]) -> str:
    """The name that a misspelt one is most like, for a sentence; empty if it is like none."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.7) if isinstance(name, str) else []
    return f" (did you mean {near[0]}?)" if near else ""


def _own(name: str, attribute: str, kind: type[T], what: str, choices: str) -> T:
    """The description that the user's own module holds. choices: what else there is, for messages."""
    where, wanted = f"{what}.name is {name!r}", f"{kind.__module__}.{kind.__name__}"
    sources.follow(name)  # before it is imported: its code decides a run's numbers as ours does
    try:
        module = importlib.import_module(name)
    except Exception as e:
        if isinstance(e, ModuleNotFoundError) and e.name and f"{name}.".startswith(f"{e.name}."):
            raise ConfigError(f"{where}; {choices}: Python finds no module {e.name}.") from e
        raise ConfigError(f"{where}, which cannot be imported ({_reason(e)}); correct it.") from e
    found = getattr(module, attribute, None)
    if found is None:
        raise ConfigError(f"{where}, which does not define {attribute}; {choices}.")
    if not isinstance(found, kind):
        raise ConfigError(f"{where}, whose {attribute} is of type {type(found).__name__}; make it a {wanted}.")
    called = getattr(found, "name", name)
    if called != name:
        raise ConfigError(f"{where}, whose {attribute} calls itself {called!r}; give both the module's name.")
    return found


def _reason(error: Exception) -> str:
    """What is wrong in a module that cannot be imported, and where."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError):
        return reason  # it says where itself
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{reason}, in {last.filename}, line {last.lineno}"

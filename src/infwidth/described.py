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
    if not isinstance(name, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise ConfigError(f"{what}.name is {name!r}; choose one of: {', '.join(known(package, attribute))}.")
    if "." in name:
        return _own(name, attribute, kind, what)
    names = known(package, attribute)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {near[0]}? It can be" if near else "choose"
        raise ConfigError(
            f"{what}.name is {name!r}; {meant} one of: {', '.join(names)}, or a module of your own that defines "
            f"{attribute}, such as my_package.my_{what}."
        )
    return getattr(importlib.import_module(f"{package.__name__}.{name}"), attribute)


def known(package: ModuleType, attribute: str) -> list[str]:
    """The names of all modules of the package that define ``attribute``, read without importing them."""
    folder, defines = Path(package.__path__[0]), re.compile(rf"^{attribute} = ", re.MULTILINE)
    files = {path.stem: path for path in folder.glob("*.py")} | {p.parent.name: p for p in folder.glob("*/__init__.py")}
    return sorted(name for name, path in files.items() if defines.search(path.read_text()))


def _own(name: str, attribute: str, kind: type[T], what: str) -> T:
    """The description that the user's own module holds."""
    where = f"{what}.name is {name!r}"
    sources.follow(name)  # before it is imported: its code decides a run's numbers as ours does
    try:
        module = importlib.import_module(name)
    except Exception as e:
        raise ConfigError(f"{where}, {_why_not_imported(name, e)}.") from e
    found = getattr(module, attribute, None)
    if found is None:
        raise ConfigError(
            f"{where}, a module that does not define {attribute}; let it hold a {kind.__module__}.{kind.__name__}."
        )
    if not isinstance(found, kind):
        raise ConfigError(
            f"{where}, whose {attribute} is of type {type(found).__name__}; make it a "
            f"{kind.__module__}.{kind.__name__}."
        )
    called = getattr(found, "name", name)
    if called != name:
        raise ConfigError(f"{where}, whose {attribute} calls itself {called!r}; give both the module's name.")
    return found


def _why_not_imported(name: str, error: Exception) -> str:
    """What keeps a module from being imported: that it is not there, or what is wrong in it and where."""
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return (
            f"but there is no module {error.name}; correct the name, or start where Python finds it, or put its folder "
            "into PYTHONPATH"
        )
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError):
        return f"which cannot be imported ({reason}); correct it"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"which cannot be imported ({reason}, in {last.filename}, line {last.lineno}); correct it"

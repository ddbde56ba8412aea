"""Model families and tasks are found by name: a module that describes itself, in the folder where all of its kind are.

``described("pi_limit", infwidth.models, "FAMILY", ...)`` imports the module ``infwidth.models.pi_limit``, and it
alone. A name with a dot is a module of the user's own. So there is no list of names to be kept in step with the
folder.
"""

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from infwidth.errors import ConfigError

T = TypeVar("T")


def described(name: object, package: ModuleType, attribute: str, kind: type[T], what: str) -> T:
    """The description that a module holds in ``attribute``. ConfigError if there is no such module or it holds none."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", name):
        raise ConfigError(f"{what}.name is {name!r}; choose one of: {', '.join(known(package, attribute))}.")
    module = name if "." in name else f"{package.__name__}.{name}"
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module}.".startswith(f"{e.name}."):
            raise  # the module is there, and asks for one that is not
        found = None
    if not isinstance(found, kind):
        raise ConfigError(
            f"{what}.name is {name!r}; choose one of: {', '.join(known(package, attribute))}, or name a module of your own "
            f"that defines {attribute}, such as my_package.my_{what}."
        )
    return found


def known(package: ModuleType, attribute: str) -> list[str]:
    """The names of all modules of the package that define ``attribute``, read without importing them."""
    folder, defines = Path(package.__path__[0]), re.compile(rf"^{attribute} = ", re.MULTILINE)
    files = {path.stem: path for path in folder.glob("*.py")} | {p.parent.name: p for p in folder.glob("*/__init__.py")}
    return sorted(name for name, path in files.items() if defines.search(path.read_text()))

"""The command ``infwidth``: ``infwidth train model=pi_limit`` is ``python -m infwidth.train model=pi_limit``.

A command is a module of infwidth with a ``main``, and has its keys in conf/command (train: in conf itself). It is
imported when it is called, because most of them need packages that the library does without.
"""

import ast
import importlib
import sys

from infwidth.command import guard, sentences
from infwidth.errors import InfwidthError
from infwidth.places import CONF, PACKAGE
from infwidth.spelling import meant
from infwidth.version import __version__

DECIDES_NUMBERS = False

TRAIN = "train"

EXTRA = "experiments"
"""What `pip install 'infwidth[...]'` names to bring what the commands need."""


def commands() -> list[str]:
    """The names of all commands."""
    return [TRAIN, *sorted(path.stem for path in (CONF / "command").glob("*.yaml"))]


def main() -> None:
    """Carry out the command that the command line names."""
    guard()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(__version__)
    else:
        with sentences():
            carry_out(name, arguments)


def carry_out(name: str, arguments: list[str]) -> None:
    """Import a command and call it. InfwidthError if there is none, or if what it needs is not installed."""
    if name not in commands():
        raise InfwidthError(
            f"infwidth has no command {name!r}{meant(name, commands())}; it has: {', '.join(commands())}. "
            "infwidth --help says what they do."
        )
    sys.argv = [f"infwidth {name}", *arguments]
    try:
        module = importlib.import_module(f"infwidth.{name}")
    except ModuleNotFoundError as e:
        package = (e.name or "").partition(".")[0]
        if package == "infwidth":
            raise
        raise InfwidthError(
            f"infwidth {name} needs {package}, which is not installed; pip install 'infwidth[{EXTRA}]' brings it and "
            "whatever else the commands need."
        ) from e
    module.main()


def overview() -> str:
    """What there is, a line for each command."""
    lines = [f"  {name:<10} {_about(name)}" for name in commands()]
    usage = "infwidth COMMAND [key=value ...]; infwidth COMMAND --help lists its keys."
    return "\n".join([usage, "", *lines])


def _about(name: str) -> str:
    """The first words of a command's module, which is not imported for them."""
    text = ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0].partition(" `")[0].rstrip(":.")


if __name__ == "__main__":
    main()

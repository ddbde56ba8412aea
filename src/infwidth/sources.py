"""The source text of every imported module of the project, as it was when the module was imported.

A run may last for days and its files be edited meanwhile, so what its code was (:mod:`infwidth.runs.fingerprint`)
cannot be read from the files at its end. Here Python's import system is told to keep the text of each module it loads.

Importing this module is what starts it, so ``infwidth/__init__.py`` imports it before anything else of the package. It
needs the standard library only.
"""

import sys
from collections.abc import Collection, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

DECIDES_NUMBERS = False

_followed = {"infwidth"}
"""Top-level packages whose modules are kept."""

_texts: dict[str, bytes] = {}
"""Module name to source text."""


def follow(module: str) -> None:
    """Keep the modules of another top-level package too, the one that ``module`` is in, such as a user's own model.

    To be called before it is first imported: of what is imported already, the text is read now.
    """
    _followed.add(package_of(module))
    _read_what_is_missing()


def imported(packages: Collection[str]) -> dict[str, bytes]:
    """The text of each module of some followed top-level packages that has been imported so far, by module name."""
    _read_what_is_missing()
    return {module: text for module, text in _texts.items() if package_of(module) in packages}


def package_of(module: str) -> str:
    """The top-level package of a module: 'infwidth' of 'infwidth.models.contract'."""
    return module.partition(".")[0]


class _Loader(SourceFileLoader):
    """Python's loader of source files, which also keeps the text."""

    def get_code(self, fullname: str) -> CodeType | None:
        # `import` and `python -m` both come through here. The text is read apart, because Python itself does not read
        # it where there is a .pyc file of the same date.
        _texts[fullname] = self.get_data(self.path)
        return super().get_code(fullname)


class _Finder:
    """Python's finder of modules on the path, for the followed packages, with the loader above."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if package_of(fullname) not in _followed:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def _read_what_is_missing() -> None:
    """Read the modules that were imported before they were followed, or by another tool's loader."""
    for name, module in list(sys.modules.items()):
        if package_of(name) in _followed and name not in _texts:
            path = Path(getattr(module, "__file__", None) or "")
            if path.suffix == ".py" and path.is_file():
                _texts[name] = path.read_bytes()


sys.meta_path.insert(0, _Finder)
_read_what_is_missing()  # the package's __init__ and this module

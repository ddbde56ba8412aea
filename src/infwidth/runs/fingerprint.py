"""The fingerprint of the code that a run used: would the run come out the same today?

**What is hashed.** Every top-level statement of every module of the project that was imported: functions and classes
whole, with decorators, defaults and annotations; constants; ``if`` and ``try`` blocks; calls. A module's text is what
was imported of it (:mod:`infwidth.sources`).

**Normal form.** A statement is hashed as its syntax tree, written out here rather than by ``ast.dump``, whose output
differs between versions of Python. Formatting and comments are not in the tree; docstrings (any bare string) and
``pass`` do nothing and are left out. Annotations count, because the config loader checks values by them and a dataclass
has the fields that are annotated.

**Labels.** A statement goes by the names that it binds. What binds none, such as a call, goes by its kind and its own
hash. The statements that share a label are hashed together, in their order: a name that is bound twice (or a table that
is filled by ``table[key] = ...``) changes when any of them does, and one may be moved past others. Each name of an
import is a statement of its own, and imports from other packages count like the project's: a function that calls
``solve`` is another one if ``solve`` comes from elsewhere. ``__all__`` and ``__version__`` do not count.

**What does not count.** A module whose content cannot change a number (logging, reporting, a command) says so itself::

    DECIDES_NUMBERS = False

In a package's ``__init__.py`` this holds for all that is below it. Everything that does not say so counts. What counted
when a run was made goes on counting for that run.
"""

import ast
import copy
import functools
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infwidth import sources
from infwidth.errors import DataError, OutputError

DECIDES_NUMBERS = False

ABOUT_THE_MODULE = ("__all__", "__version__")
"""Names that describe a module, and that nothing computes with."""

FIELDS_WITHOUT_MEANING = ("ctx", "kind", "type_comment")
"""Parts of a syntax tree that follow from its other parts, or that are a matter of spelling."""


@dataclass(frozen=True)
class Fingerprint:
    """statements: module name to label to hash; modules without statements are left out."""

    statements: Mapping[str, Mapping[str, str]]

    @functools.cached_property
    def digest(self) -> str:
        """16 hex digits that stand for the whole fingerprint."""
        return _hash(_canonical(self.statements), 16)


def current(roots: Iterable[str]) -> Fingerprint:
    """The fingerprint of the code that a run used: of what this process has imported and some modules reach by imports.

    roots: the modules that the run named, its trainer, its model family and its task, 'mylab.tasks.speech' of a user's
    own among them, whose whole top-level package ('mylab') is looked through.
    A process that carries out runs of several families gives each its own.
    Call :func:`infwidth.sources.follow` with a user's module before importing it, or its text is only read here.
    """
    roots = list(roots)
    for module in roots:
        sources.follow(module)
    texts = sources.imported({sources.package_of(module) for module in ("infwidth", *roots)})
    found = {module: statements(texts[module]) for module in reached(texts, roots)}
    declared = {module: statements(text) for module, text in texts.items()}
    return Fingerprint({module: found[module] for module in found if found[module] and _decides(module, declared)})


def reached(texts: Mapping[str, bytes], roots: Iterable[str]) -> set[str]:
    """The modules among ``texts`` that the roots come to by import statements, the roots included.

    It does not matter where these statements stand.
    """
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in texts and module not in found:
            found.add(module)
            waiting += _imports(module, texts[module])
            waiting.append(module.rpartition(".")[0])  # importing a module runs the packages that it is in
    return found


@functools.cache
def _imports(module: str, text: bytes) -> tuple[str, ...]:
    """What the import statements of a module name: modules, and names that may be modules."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            for base in _bases(module, node):
                names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _bases(module: str, node: ast.ImportFrom) -> list[str]:
    """What an import is from. A relative one is read both as a module's and as a package's: only one of them exists."""
    if not node.level:
        return [node.module or ""]
    parts, below = module.split("."), [node.module] if node.module else []
    return [".".join([*parts[: len(parts) - up], *below]) for up in (node.level, node.level - 1)]


def write(fingerprint: Fingerprint, folder: Path) -> str:
    """Keep a fingerprint as ``<folder>/<digest>.json`` and return its digest. OutputError if that cannot be written."""
    path = Path(folder) / f"{fingerprint.digest}.json"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(_canonical(fingerprint.statements) + "\n")
        os.replace(temporary, path)
    except OSError as e:
        raise OutputError(
            f"the fingerprint {path} cannot be written ({e.strerror}); make room, or choose another folder."
        ) from e
    return fingerprint.digest


def read(folder: Path, digest: str) -> Fingerprint:
    """The fingerprint of that digest. DataError if it is missing, or if its content is not what its name says."""
    path = Path(folder) / f"{digest}.json"
    try:
        fingerprint = Fingerprint(json.loads(path.read_text()))
    except OSError as e:
        raise DataError(f"the fingerprint {path} cannot be read ({e.strerror}); restore it from the repository.") from e
    except ValueError as e:
        raise DataError(f"the fingerprint {path} is damaged ({e}); restore it from the repository.") from e
    if fingerprint.digest != digest:
        raise DataError(
            f"the fingerprint {path} is damaged: its content has the digest {fingerprint.digest}; "
            "restore it from the repository."
        )
    return fingerprint


def changed(fingerprint: Fingerprint, now: Callable[[str], Mapping[str, str] | None]) -> list[str]:
    """What a fingerprint holds that is different or gone: 'infwidth.models.linear.LinearNet', or a module's name alone.

    now: gives the statements of a module, label to hash, and None for a module that is gone. That is :func:`today`, or
    ``functools.cache(today)`` where many fingerprints are asked about. What was added is not looked at.
    """
    found = []
    for module, before in sorted(fingerprint.statements.items()):
        after = now(module)
        if after is None:
            found.append(module)
        else:
            found += [f"{module}.{label}" for label, value in sorted(before.items()) if after.get(label) != value]
    return found


def today(module: str) -> Mapping[str, str] | None:
    """Label to hash of the statements in a module's file as it is now; nothing is imported.

    None if there is no such file, or if it cannot be read as Python.
    """
    try:
        path = _file(module)
        return None if path is None else statements(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


@functools.cache
def statements(text: bytes) -> Mapping[str, str]:
    """Label to hash of the top-level statements of a source text. SyntaxError if it is not Python."""
    found: dict[str, list[str]] = {}
    for statement in _top_level(ast.parse(text)):
        form = _normal_form(statement)
        for label in _labels(statement, form):
            found.setdefault(label, []).append(form)
    return {label: _hash("\n".join(forms), 10) for label, forms in found.items() if label not in ABOUT_THE_MODULE}


def _decides(module: str, found: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether neither a module nor a package that it is in declares that it cannot change a number."""
    declared = statements(b"DECIDES_NUMBERS = False")["DECIDES_NUMBERS"]
    parts = module.split(".")
    holders = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return not any(found.get(holder, {}).get("DECIDES_NUMBERS") == declared for holder in holders)


def _file(module: str) -> Path | None:
    """The file of a module today."""
    top, *below = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None:
        return None
    if not below:
        return None if spec.origin is None else Path(spec.origin)
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *below)
        for path in (base / "__init__.py", base.parent / f"{base.name}.py"):
            if path.is_file():
                return path
    return None


def _top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module that do something, imports name by name."""
    for statement in tree.body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                single = copy.copy(statement)
                single.names = [alias]
                yield single
        elif not _does_nothing(statement):
            yield statement


def _labels(statement: ast.stmt, form: str) -> Sequence[str]:
    """What a statement goes by: each name that it binds, or else its kind and the hash of its normal form."""
    return sorted(set(_bound(statement))) or [f"{type(statement).__name__} {_hash(form, 10)}"]


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds in the module, also inside its branches; not what is local to a function."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.alias):
        yield node.asname or node.name
    elif isinstance(node, ast.expr):
        yield from _assigned(node)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def _assigned(node: ast.expr) -> Iterator[str]:
    """The names of an assignment's target, 'table' for ``table[key]``; none for an expression that is only read."""
    if not isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)):
        return
    if isinstance(node, (ast.Tuple, ast.List)):
        for element in node.elts:
            yield from _assigned(element)
        return
    while isinstance(node, (ast.Starred, ast.Attribute, ast.Subscript)):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _normal_form(value: Any) -> str:
    """A syntax tree as text. Empty fields are left out, because versions of Python differ in which ones there are."""
    if isinstance(value, ast.AST):
        fields = []
        for name in value._fields:
            part = getattr(value, name, None)
            if isinstance(part, list):
                part = [item for item in part if not _does_nothing(item, value)]
            if name not in FIELDS_WITHOUT_MEANING and part is not None and part != []:
                fields.append(f"{name}={_normal_form(part)}")
        return f"({type(value).__name__} {' '.join(fields)})"
    if isinstance(value, list):
        return f"[{','.join(_normal_form(item) for item in value)}]"
    return ascii(value)  # not repr, which depends on the version's Unicode tables


def _does_nothing(node: Any, parent: ast.AST | None = None) -> bool:
    """Whether a node can be left out: ``pass``, a docstring, an empty piece of an f-string."""
    if isinstance(node, ast.Constant):  # 3.12 ends some f-strings with an empty piece, other versions do not
        return isinstance(parent, ast.JoinedStr) and node.value == ""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _canonical(statements: Mapping[str, Mapping[str, str]]) -> str:
    return json.dumps(statements, sort_keys=True, separators=(",", ":"))


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]

"""Whether runs made by an earlier commit would come out the same today, as far as the source can tell."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
DECIDING = (
    *(f"src/infwidth/{p}" for p in ("models", "tasks", "gaussian.py", "ridge.py", "parametrization.py", "seeding.py")),
    *(f"src/infwidth/training/{p}.py" for p in ("trainer", "clipping", "schedules")),
    *(f"conf/{p}" for p in ("data", "experiment", "model", "parametrization", "settings", "task", "trainer")),
)
"""What decides numbers. Not the data's preparation: its result is part of a run's id by checksum."""

MODULES = {
    "finite": ("linear", "mlp"), "mu_limit": ("linear",), "pi_limit": ("pi", "pi_adapted"), "pi_net": ("pi_net",),
    "nngp_limit": ("kernels", "regression"), "ntk_limit": ("kernels", "regression"),
}  # fmt: skip
"""The modules of src/infwidth/models that a family is made of, with what these import."""

PACKAGES = {"maml_omniglot": "maml", "word2vec": "word2vec", "cifar10": "images"}
"""The folders of the tasks."""

CONFIGS = {"maml_omniglot": "maml_omniglot", "maml_pi": "maml_omniglot", "word2vec": "word2vec", "cifar10": "cifar10"}
"""The files of conf/task, by which settings are named, and the task that each configures."""

REGISTRIES = ("src/infwidth/models/__init__.py", "src/infwidth/models/configs.py", "src/infwidth/tasks/__init__.py")
"""Where a new family or task is entered: what is added there changes nothing for those that were there."""


REFUSING = ("check", "remedy")
"""Methods that refuse a config or word a refusal: they stop a run, and change no number of one that goes on."""


def _git(*arguments: str, root: Path) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _meaning(path: str, text: str) -> object:
    """A file's content without comments, docstrings and what only refuses."""
    if not path.endswith(".py"):
        return yaml.safe_load(text)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [n for n in node.body if not (isinstance(n, ast.FunctionDef) and n.name in REFUSING)] or [
                ast.Pass()
            ]
    return ast.dump(_undocumented(tree))


def _survives(before: str, now: str) -> bool:
    """Whether all definitions of a module are still in it, members of classes and entries of dictionaries one by one."""
    return set(_parts(ast.parse(before))) <= set(_parts(ast.parse(now)))


def _parts(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    for part in node.body:
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
            continue
        if isinstance(part, ast.ClassDef):
            yield from _parts(part, f"{prefix}{part.name}.")
        elif isinstance(part, ast.Assign) and isinstance(part.value, ast.Dict):
            yield from (
                prefix + ast.dump(ast.Tuple([*part.targets, k, v]))
                for k, v in zip(part.value.keys, part.value.values, strict=True)
            )
        elif isinstance(part, ast.ImportFrom):
            yield from (f"{prefix}{part.module} {name.name}" for name in part.names)
        else:
            without = ast.Module([part], [])
            yield prefix + ast.dump(_undocumented(without))


def _undocumented(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            node.body = [
                n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            ] or [ast.Pass()]
    return tree


@functools.cache
def _reached(model: str, root: Path) -> frozenset[str]:
    """Paths of the modules that a family of models is made of; empty if that is not known."""
    folder, found = root / "src/infwidth", set()
    waiting = [f"models/{name}.py" for name in MODULES.get(model, ())]
    while waiting:
        path = waiting.pop()
        if path in found or not (folder / path).exists():
            continue
        found.add(path)
        for node in ast.walk(ast.parse((folder / path).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("infwidth"):
                base = node.module.removeprefix("infwidth").strip(".").replace(".", "/")
                waiting += [f"{base}.py", *(f"{base}/{name.name}.py".lstrip("/") for name in node.names)]
    return frozenset(f"src/infwidth/{path}" for path in found)


def _concerns(path: str, task: str, model: str, experiment: str, root: Path) -> bool:
    """Whether a file can decide the numbers of a run of this task and model, a row of this experiment or of none."""
    parts = Path(path).parts
    if path.startswith("src/infwidth/models/") and path not in REGISTRIES:
        reached = _reached(model, root)
        return not reached or path in reached
    if path.startswith("src/infwidth/tasks/") and len(parts) > 4:
        return parts[3] == PACKAGES.get(task, parts[3])
    if path.startswith("conf/experiment/"):
        return parts[2] == experiment
    if path.startswith(("conf/settings/", "conf/task/")):
        owner = next((name for name in CONFIGS if parts[2].startswith(name)), None)
        if owner is not None and (CONFIGS[owner] != task or (owner == "maml_pi") != (experiment == "maml_pi")):
            return False
    if path.startswith("conf/settings/"):
        return model in parts[2] or not any(name in parts[2] for name in MODULES)
    if path.startswith("conf/model/"):
        return parts[2] == f"{model}.yaml"
    return True


THEORY = tuple(
    f"src/infwidth/{p}"
    for p in (
        "theory",
        "parametrization.py",
        "seeding.py",
        "models/linear.py",
        "models/mlp.py",
        "models/pi.py",
        "models/pi_net.py",
        "models/growing.py",
        "gaussian.py",
        "data/digits.py",
    )
)
"""What decides the measurements of the theory experiment."""


@functools.cache
def outdated_theory(commit: str, root: Path = ROOT) -> bool:
    """As ``outdated``, for the measurements of the theory experiment."""
    changed = None if commit.endswith("+") else _git("diff", "--name-only", commit, "--", *THEORY, root=root)
    return changed is None or any(_differs(commit, path, root) for path in changed.splitlines())


def _differs(commit: str, path: str, root: Path) -> bool:
    """Whether a file of that commit is gone or means something else today. A new file matters through a changed one that uses it."""
    before, now = _git("show", f"{commit}:{path}", root=root), root / path
    if before is None:
        return False
    if not now.exists():
        return True
    return not (
        _survives(before, now.read_text())
        if path in REGISTRIES
        else _meaning(path, before) == _meaning(path, now.read_text())
    )


@functools.cache
def outdated(commit: str, task: str, model: str, experiment: str, root: Path = ROOT) -> bool:
    """Whether code or configs that decide the numbers of such runs differ between a commit and the working tree; True if it is not known here.

    Changed comments and docstrings do not count, nor do files of other tasks, of other families of models and of other experiments. A commit
    marked '+' had uncommitted changes and is always outdated.
    """
    changed = None if commit.endswith("+") else _git("diff", "--name-only", commit, "--", *DECIDING, root=root)
    if changed is None:
        return True
    return any(
        _concerns(path, task, model, experiment, root) and _differs(commit, path, root) for path in changed.splitlines()
    )

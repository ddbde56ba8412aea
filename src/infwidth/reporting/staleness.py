"""Whether runs made by an earlier commit would come out the same today, as far as the source can tell."""

import ast
import functools
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
DECIDING = (
    *(f"src/infwidth/{p}" for p in ("models", "tasks", "gaussian.py", "parametrization.py", "seeding.py")),
    *(f"src/infwidth/training/{p}.py" for p in ("trainer", "clipping", "schedules")),
    *(f"conf/{p}" for p in ("data", "experiment", "model", "parametrization", "settings", "task", "trainer")),
)
"""What decides numbers. Not the data's preparation: its result is part of a run's id by checksum."""


def _git(*arguments: str, root: Path) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _meaning(path: str, text: str) -> object:
    """A file's content without comments and docstrings."""
    if not path.endswith(".py"):
        return yaml.safe_load(text)
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            node.body = [
                n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.dump(tree)


@functools.cache
def outdated(commit: str, root: Path = ROOT) -> bool:
    """Whether code or configs that decide numbers differ between a commit and the working tree; True if it is not known here.

    Changed comments and docstrings do not count. A commit marked '+' had uncommitted changes and is always outdated.
    """
    changed = None if commit.endswith("+") else _git("diff", "--name-only", commit, "--", *DECIDING, root=root)
    if changed is None:
        return True
    for path in changed.splitlines():
        before, now = _git("show", f"{commit}:{path}", root=root), root / path
        if before is None or not now.exists() or _meaning(path, before) != _meaning(path, now.read_text()):
            return True
    return False

"""What marks a run as made by other code, and what does not."""

import ast
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infwidth import sources
from infwidth.errors import DataError, OutputError
from infwidth.runs import fingerprint
from infwidth.runs.fingerprint import Fingerprint, changed, current, read, statements, today, write

SOURCE = Path(fingerprint.__file__).parents[1]

TOY = '''\
"""A module with everything that can be at its top level."""

import os.path
from dataclasses import dataclass

import numpy as xp
from scipy.linalg import norm, solve

__version__ = "1"

RATE = 0.5  # of learning
TABLE = {"finite": 1, "limit": 2}
TABLE["kernel"] = 3
low, high = 0, 10
register(RATE)


@dataclass(frozen=True)
class Config:
    """Settings."""

    width: int = 64
    depth: int = 2


class Net:
    def check(self, x):
        """Refuse a wrong x."""
        return x.dim() == 2

    def forward(self, x, scale=1.0):
        y = x + 1
        y = y * scale
        return f"{y:.2f}"


@cached(size=8)
def update(w, *, rate=RATE):
    # The step.
    w = w - rate
    return w


if FAST:
    class Kernel:
        order = 1
else:
    class Kernel:
        order = 2
'''


def marked(before: str, after: str) -> list[str]:
    """What of the module ``toy`` is marked after a change of its text."""
    return changed(Fingerprint({"toy": statements(before.encode())}), {"toy": statements(after.encode())}.get)


@pytest.mark.parametrize(
    ("old", "new", "labels"),
    [
        ("RATE = 0.5", "RATE = 0.25", ["RATE"]),
        ("RATE = 0.5", "RATE = 0.5\nRATE *= 2", ["RATE"]),
        ("scale=1.0", "scale=2.0", ["Net"]),
        ("rate=RATE", "rate=None", ["update"]),
        ("@cached(size=8)", "@cached(size=9)", ["update"]),
        ("@dataclass(frozen=True)", "@dataclass", ["Config"]),
        ("w - rate", "w + rate", ["update"]),
        ("x.dim() == 2", "x.dim() != 2", ["Net"]),
        ("depth: int = 2", "depth: int = 3", ["Config"]),
        ("depth: int = 2", "depth: float = 2", ["Config"]),
        ("depth: int = 2", "depth = 2", ["Config"]),
        ("    width: int = 64\n    depth: int = 2\n", "    depth: int = 2\n    width: int = 64\n", ["Config"]),
        ("y = x + 1\n        y = y * scale", "y = y * scale\n        y = x + 1", ["Net"]),
        ('{"finite": 1,', '{"finite": 0,', ["TABLE"]),
        ('TABLE["kernel"] = 3', 'TABLE["kernel"] = 4', ["TABLE"]),
        ('TABLE["kernel"] = 3', "", ["TABLE"]),
        ("low, high = 0, 10", "low, high = 0, 11", ["high", "low"]),
        ("low, high = 0, 10", "high, low = 0, 10", ["high", "low"]),
        ("order = 1", "order = 3", ["Kernel"]),
        ("order = 2", "order = 3", ["Kernel"]),
        ("if FAST", "if not FAST", ["Kernel"]),
        ("{y:.2f}", "{y:.3f}", ["Net"]),
        (
            "from scipy.linalg import norm, solve",
            "from scipy.linalg import norm\nfrom numpy.linalg import solve",
            ["solve"],
        ),
        ("import numpy as xp", "import torch as xp", ["xp"]),
        ("        return x.dim() == 2", "        pass", ["Net"]),
        ("def forward(self, x, scale=1.0)", "def forward(self, x, *, scale=1.0)", ["Net"]),
        ("class Net:", "class Layer:", ["Net"]),
    ],
)
def test_a_deliberate_change_marks_its_statement(old, new, labels):
    assert TOY.count(old) == 1
    assert marked(TOY, TOY.replace(old, new)) == [f"toy.{label}" for label in labels]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# of learning", "# of forgetting"),
        ("    # The step.\n", ""),
        ('"""A module with everything that can be at its top level."""', ""),
        ('"""Settings."""', '"""What can be set."""'),
        ('        """Refuse a wrong x."""\n', ""),
        ("RATE = 0.5", 'RATE = 0.5\n"""Of learning."""'),
        ('{"finite": 1, "limit": 2}', "{\n    'finite': 0x1,\n    u'limit': (2),\n}"),
        ("RATE = 0.5", "RATE = 5e-1"),
        ("    w = w - rate\n", "    w = (w\n        - rate)\n    pass\n"),
        ("low, high = 0, 10", "low, high = 0, 10\nmiddle = 5"),
        ("low, high = 0, 10", "low, high = 0, 10\n\n\ndef downdate(w):\n    return w"),
        ("register(RATE)", "register(RATE)\nregister(TABLE)"),
        ("import norm, solve", "import det, norm, solve"),
        ("import norm, solve", "import (\n    solve,\n    norm,\n)"),
        ("import os.path", "import os\nimport os.path"),
        ('__version__ = "1"', '__version__ = "2"'),
    ],
)
def test_comments_docstrings_formatting_and_additions_do_not(old, new):
    assert TOY.count(old) == 1
    assert marked(TOY, TOY.replace(old, new)) == []


def test_a_call_is_named_by_its_kind_and_gone_when_it_is_another():
    (label,) = marked(TOY, TOY.replace("register(RATE)", "register(1)"))
    assert label.startswith("toy.Expr ")


def test_the_same_call_a_second_time_is_not_the_same_module():
    assert len(marked(TOY + "register(RATE)\n", TOY)) == 1


def test_order_in_a_module_matters_only_among_the_statements_of_one_name():
    net, update = TOY.index("class Net"), TOY.index("@cached")
    assert marked(TOY, TOY[:net] + TOY[update:] + TOY[net:update]) == []
    assert marked("a = 1\nb = 1\na = 2\n", "a = 2\na = 1\nb = 1\n") == ["toy.a"]


def test_the_variable_of_a_comprehension_is_no_name_of_the_module():
    assert marked("a = [i for i in x]\n", "a = [i for i in x]\nb = [i for i in y]\n") == []


# --- files and imports


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder that modules are imported from; what was imported is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "_texts", dict(sources._texts))
    monkeypatch.setattr(sources, "_followed", set(sources._followed))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def put(folder: Path, **texts: str) -> None:
    """Write ``name.py`` for each keyword, double underscores for folders, and let Python look again."""
    for name, text in texts.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    importlib.invalidate_caches()


def of_lab(*roots: str) -> set[str]:
    return {module for module in current(roots).statements if module.startswith("lab")}


def test_a_module_counts_once_it_is_imported(packages):
    put(packages, lab__first="a = 1\ndef late():\n    from lab import second", lab__second="b = 2")
    sources.follow("lab.first")
    importlib.import_module("lab.first")
    assert of_lab("lab.first") == {"lab.first"}
    importlib.import_module("lab.second")
    assert of_lab("lab.first") == {"lab.first", "lab.second"}
    assert not of_lab("infwidth.runs.plan")


def test_what_a_run_does_not_come_to_is_no_part_of_its_code(packages):
    put(packages, lab__first="a = 1", lab__second="from .third import c", lab__third="c = 3")
    sources.follow("lab")
    for module in ("lab.first", "lab.second"):
        importlib.import_module(module)
    assert of_lab("lab.first") == {"lab.first"}
    assert of_lab("lab.second") == {"lab.second", "lab.third"}


def test_a_file_edited_after_its_import_is_seen_today_and_not_in_the_fingerprint(packages):
    put(packages, lab__model="a = 1")
    sources.follow("lab.model")
    importlib.import_module("lab.model")
    put(packages, lab__model="a = 2")
    taken = current(["lab.model"])
    assert taken.statements["lab.model"] == statements(b"a = 1")
    assert changed(Fingerprint({"lab.model": taken.statements["lab.model"]}), today) == ["lab.model.a"]


def test_a_module_of_the_users_that_was_imported_before_it_was_named_counts(packages):
    put(packages, lab__model="a = 1")
    importlib.import_module("lab.model")
    assert current(["lab.model"]).statements["lab.model"] == statements(b"a = 1")


def test_this_package_is_recorded_from_its_first_module_on():
    imported = sources.imported({"infwidth"})
    assert {"infwidth", "infwidth.sources", "infwidth.errors", "infwidth.runs.fingerprint"} <= set(imported)
    assert set(imported) >= {name for name in sys.modules if name.startswith("infwidth.")}
    assert imported["infwidth.sources"] == Path(sources.__file__).read_bytes()


def test_today_imports_nothing_and_finds_a_module_that_has_become_a_package(packages):
    put(packages, lab__deep__model="a = 1", lab__broken="a = = 1")
    assert today("lab.deep.model") == statements(b"a = 1")
    assert "lab" not in sys.modules
    (packages / "lab/deep/model.py").unlink()
    assert today("lab.deep.model") is None
    put(packages, lab__deep__model__part="")
    (packages / "lab/deep/model/__init__.py").write_text("a = 1")
    assert today("lab.deep.model") == statements(b"a = 1")
    assert today("lab.broken") is None
    assert today("nowhere") is None and today("nowhere.model") is None


def test_today_finds_a_folder_without_an_init_file(packages):
    put(packages, lab__model="a = 1")
    (packages / "lab/__init__.py").unlink()
    importlib.invalidate_caches()
    assert today("lab.model") == statements(b"a = 1")


def test_a_module_that_is_gone_is_named_as_a_whole():
    assert changed(Fingerprint({"lab.model": statements(b"a = 1\nb = 2")}), {}.get) == ["lab.model"]


def test_what_cannot_change_a_number_says_so_itself_or_in_its_package(packages):
    put(packages, lab__logs="DECIDES_NUMBERS = False\na = 1", lab__nets="DECIDES_NUMBERS = True\na = 1")
    put(packages, lab__page__deep__part="a = 1", lab__pages="a = 1")
    (packages / "lab/page/__init__.py").write_text("DECIDES_NUMBERS = False")
    sources.follow("lab")
    for module in ("lab.logs", "lab.nets", "lab.page.deep.part", "lab.pages"):
        importlib.import_module(module)
    assert of_lab("lab.logs", "lab.nets", "lab.page.deep.part", "lab.pages") == {"lab.nets", "lab.pages"}


def test_a_module_that_says_so_only_now_is_still_asked_about():
    taken = Fingerprint({"lab.step": statements(b"a = 1")})
    assert changed(taken, lambda module: statements(b"DECIDES_NUMBERS = False")) == ["lab.step.a"]


TOOL = """\
from pathlib import Path
from infwidth import helper
from infwidth.runs.fingerprint import current

Path(helper.__file__).write_text("a = 2")
found = current(["infwidth.tool"]).statements
print(found["infwidth.helper"]["a"], found["infwidth.tool"]["TOOL"], helper.a)
print(Path(helper.__cached__).exists())
TOOL = 1
"""


def test_a_command_and_modules_from_compiled_files_are_recorded_too(tmp_path):
    for name in ("sources.py", "errors.py", "runs/__init__.py", "runs/fingerprint.py"):
        (tmp_path / "infwidth" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / name, tmp_path / "infwidth" / name)
    (tmp_path / "infwidth/__init__.py").write_text("from infwidth import sources as sources\n")
    helper, date = tmp_path / "infwidth/helper.py", 10**9
    put(tmp_path, infwidth__tool=TOOL, infwidth__helper="a = 1")
    expected = f"{statements(b'a = 1')['a']} {statements(b'TOOL = 1')['TOOL']} 1\nTrue\n"
    for _ in range(
        2
    ):  # the second time, Python loads helper's .pyc file, which belongs to a text of that date and size
        helper.write_text("a = 1")
        os.utime(helper, (date, date))
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-m", "infwidth.tool"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == expected


# --- the whole package


@pytest.fixture
def copied(packages):
    """This package as another one, ``copied``, and the fingerprint of all its modules."""
    shutil.copytree(SOURCE, packages / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    importlib.invalidate_caches()
    files = sorted((packages / "copied").rglob("*.py"))
    modules = {
        ".".join(path.relative_to(packages).with_suffix("").parts).removesuffix(".__init__"): path for path in files
    }
    return modules, Fingerprint({module: today(module) for module in modules})


def test_no_statement_of_the_package_depends_on_comments_or_formatting(copied):
    modules, taken = copied
    for path in modules.values():
        path.write_text(ast.unparse(ast.parse(path.read_text())))
    assert changed(taken, today) == []
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=60", "--quiet"]
    subprocess.run([*ruff, *modules.values()], check=True)
    assert changed(taken, today) == []


def test_every_function_class_and_constant_of_the_package_is_marked_by_a_changed_number(copied):
    modules, taken = copied
    expected = set()
    for module, path in modules.items():
        tree = ast.parse(path.read_text())
        for statement in tree.body:
            numbers = [
                n for n in ast.walk(statement) if isinstance(n, ast.Constant) and isinstance(n.value, int | float)
            ]
            if numbers and isinstance(statement, ast.FunctionDef | ast.ClassDef):
                expected.add(f"{module}.{statement.name}")
            elif numbers and isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                expected.add(f"{module}.{statement.targets[0].id}")
            else:
                continue
            numbers[-1].value += 1
        path.write_text(ast.unparse(tree))
    assert len(expected) > 100
    assert set(changed(taken, today)) == expected


# --- storage


def test_a_fingerprint_is_kept_once_by_its_content(tmp_path):
    taken = Fingerprint({"b": {"y": "2", "x": "1"}, "a": {"z": "3"}})
    again = Fingerprint({"a": {"z": "3"}, "b": {"x": "1", "y": "2"}})
    assert write(taken, tmp_path / "prints") == write(again, tmp_path / "prints") == taken.digest
    assert [path.name for path in (tmp_path / "prints").iterdir()] == [f"{taken.digest}.json"]
    assert read(tmp_path / "prints", taken.digest) == taken
    assert Fingerprint({"a": {"z": "4"}}).digest != Fingerprint({"a": {"z": "3"}}).digest


def test_a_damaged_or_missing_fingerprint_is_refused_in_a_sentence(tmp_path):
    digest = write(Fingerprint({"a": {"x": "1"}}), tmp_path)
    path = tmp_path / f"{digest}.json"
    path.write_text(json.dumps({"a": {"x": "2"}}))
    with pytest.raises(DataError, match="damaged: its content has the digest"):
        read(tmp_path, digest)
    path.write_bytes(b'{"a": \xff')
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path, digest)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read .No such file"):
        read(tmp_path, digest)


def test_a_fingerprint_that_cannot_be_written_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write(Fingerprint({}), tmp_path / "file")


# --- versions of Python

SPELLINGS = '''
a = f"{x}" "" f"a{{b}}{1!r:^{2}}" 'tail', f"{a:}" u"y" rf"\\d{a}", f"{a = }" f"{a=!r:>10}" f"{{}}" f""
b = f"{a:{b}{c}.2f}x{{"
c = f"""{
  a
}""" f'{a["k"]}', b"a" b"b", 1e400, 1_0, 0x1F, 1j, -0.0, ..., None, True, "\\u0378\\U0001fae8\\ud800é"
def f(a, /, b=1, *c, d, e=2, **g) -> int:
    x: int = 3
    return lambda *, z: [i async for i in z if i]
async def g():
    async with a as b, c: yield
match a:
    case {"a": 1, **rest} | [1, *_, K(x=1) | None]: pass
    case -1 | 1 + 2j | "s": x[1, 2:3, ...] = y = *z, w
try: print(*a, **{**b, "c": 1}, d=(e := 3))
except (A, B) as e: raise X from e
else: del p, q
with (open(a) as a, open(b)): global r
while not a < b <= c: a @= b; a if b else c
'''

ELSEWHERE = """\
import json, sys, types
from pathlib import Path

package = types.ModuleType("infwidth")  # what the package's __init__ imports need not be installed there
package.__path__ = [sys.argv[1]]
sys.modules["infwidth"] = package
from infwidth.runs.fingerprint import statements

texts = [Path(path).read_bytes() for path in sys.argv[2:]]
print(sys.version_info[1], json.dumps([statements(text) for text in texts]))
"""


def interpreters() -> list[Path]:
    """Python 3.10 to 3.12, those that are installed and start."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = [f"python3.{minor}" for minor in (10, 11, 12)]
    found = [Path(path) for path in map(shutil.which, names) if path]
    found += [path for name in names for path in sorted(pyenv.glob(f"*/bin/{name}"))]
    return [
        path for path in found if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
    ]


def test_versions_of_python_agree(tmp_path):
    spellings = tmp_path / "spellings.py"
    spellings.write_text(SPELLINGS)
    files = [spellings, *sorted(SOURCE.rglob("*.py"))]
    here = [statements(path.read_bytes()) for path in files]
    seen = set()
    for python in interpreters():
        command = [python, "-c", ELSEWHERE, SOURCE, *files]
        minor, there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(maxsplit=1)
        assert json.loads(there) == here, f"{python} and this Python differ"
        seen.add(int(minor))
    if not seen - {sys.version_info[1]}:
        pytest.skip("no other version of Python from 3.10 to 3.12 is installed")

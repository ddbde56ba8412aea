"""The theory experiment as a user runs it: measured once, skipped after, rebuilt from what is kept; and its errors."""

import json
import shutil

import pandas as pd
import pytest

from tests.commands import command


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theory")
    arguments = ["experiment=theory", "scale=demo", f'overrides=["paths.results={folder}","logger=none"]']
    return folder, arguments, command("reproduce", *arguments)


def test_tables_figures_and_page(measured):
    folder, _, done = measured
    assert "of 281 exponents" in done.stdout and "Best learning rate, μP" in done.stdout
    for name in ("coordinate_check", "dichotomy", "convergence", "learning_rates", "plane"):
        for file in (f"{name}.png", f"{name}.svg", f"dark/{name}.png"):
            assert (folder / "theory" / file).stat().st_size > 1000, file
    page = (folder / "index.html").read_text()
    assert (
        "Theory: which parametrizations learn features" in page
        and page.count("<picture>") == 5
        and 'prefers-color-scheme: dark)" srcset' in page
    )
    check = pd.read_csv(folder / "theory" / "coordinate_check_2.csv")
    assert {"μP", "NTK"} <= set(check.parametrization) and check.slope.notna().any()


def test_again_it_measures_nothing_and_says_the_same(measured):
    folder, arguments, _ = measured
    before = (folder / "theory" / "table.md").read_text()
    done = command("reproduce", *arguments)
    assert done.stdout.count("already finished, skipped") == 7
    assert (folder / "theory" / "table.md").read_text() == before


def test_without_the_measurements_the_kept_tables_make_the_same_report(measured, tmp_path):
    folder, _, _ = measured
    shutil.copytree(folder / "theory", tmp_path / "theory")
    (tmp_path / "theory" / "table.md").unlink()
    command("report", f"paths.results={tmp_path}")
    assert (tmp_path / "theory" / "table.md").read_text() == (folder / "theory" / "table.md").read_text()
    (tmp_path / "theory" / "plane.csv").unlink()
    done = command("report", "name=theory", f"paths.results={tmp_path}", check=False)
    assert done.returncode == 2 and "plane.csv cannot be read" in done.stderr
    (tmp_path / "theory" / "runs.csv").write_text("id,name\n1,2\n")
    done = command("report", "name=theory", f"paths.results={tmp_path}", check=False)
    assert done.returncode == 2 and "runs.csv, line 2 is not a run" in done.stderr


def test_a_damaged_measurement_is_named(measured, tmp_path):
    folder, _, _ = measured
    source = next((folder / "runs" / "theory").glob("plane-*"))
    broken = tmp_path / "runs" / "theory" / source.name
    shutil.copytree(source, broken)
    summary = json.loads((broken / "summary.json").read_text())
    (broken / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k != "provenance"}))
    done = command("report", "name=theory", f"paths.results={tmp_path}", check=False)
    assert done.returncode == 2 and f"{source.name} is damaged" in done.stderr


@pytest.mark.parametrize("given", ["seeds=3", "rows=[a]", "data=digits"])
def test_what_has_no_meaning_for_measurements(given, tmp_path):
    done = command("reproduce", "experiment=theory", "scale=demo", given, check=False)
    assert done.returncode == 2 and f"{given.split('=')[0]} has no meaning for experiment theory" in done.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["parametrization=mup", "depth=2"], "regime: feature learning"),
        (["a=[0,0.5]", "b=[0,0]", "c=0"], "Up to the shift symmetry it is ntk"),
        (["parametrization=standard", "c=1", "depth=3"], "regime: kernel"),
    ],
)
def test_explain(arguments, said):
    assert said in command("explain", *arguments).stdout


def test_explain_says_what_is_missing():
    done = command("explain", "a=[0,1]", check=False)
    assert done.returncode == 2 and "give a, b (one exponent for each weight layer) and c" in done.stderr

"""An experiment of three rows with claims, and records of its runs as runs.csv has them."""

import yaml

from infwidth.job import keep_code
from infwidth.runs import plan as plans
from infwidth.runs import store
from infwidth.runs.plan import plan_of
from infwidth.runs.store import Record, kept_config

SCALES = {"demo": {"seeds": 1}, "cpu": {"seeds": 1}, "paper": {"seeds": 2, "seeds_of": {"width_8": 1}}}
RECIPE = {
    "title": "x",
    "claim": "x",
    "accuracy": "x",
    "rows": ["width_2", "width_8", "mu_limit"],
    "limits": [],
    "curves": [],
    "pca": [{"title": "the limit", "row": "mu_limit", "which": "trained"}],
    **{scale: {"candidates": False, **of_scale} for scale, of_scale in SCALES.items()},
}
PAPER = """row,label,metric,paper,paper_std,data,source
width_2,width 2,accuracy,55,,Omniglot,
width_8,width 8,accuracy,64,,Omniglot,
mu_limit,μ-limit,accuracy,,,Omniglot,
"""
CLAIM = {"claim": "Wider is better.", "source": "a paper", "scale": "paper"}
CLAIMS = [{**CLAIM, "also": "cpu", "ordered": {"rows": ["width_2", "width_8"]}}]


def experiment(folder, monkeypatch, claims=CLAIMS, **more):
    """An experiment named maml, whose rows are in conf, in a folder that stands for `experiments`."""
    (folder / "maml").mkdir(parents=True, exist_ok=True)
    (folder / "maml" / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "maml" / "paper.csv").write_text(PAPER)
    (folder / "maml" / "claims.yaml").write_text(yaml.safe_dump({"claims": claims, **more}))
    monkeypatch.setattr(plans, "EXPERIMENTS", folder)


def record(row, seed, accuracy, scale="paper", data="Omniglot", status="finished", fingerprint="", **more):
    """A run of a row of maml, as planned at a scale."""
    (planned,) = [run for run in plan_of("maml").runs(scale, seed + 1, [row]) if (run.row, run.seed) == (row, seed)]
    metrics = {"test/accuracy": accuracy, "test/accuracy_standard_error": 0.3} if status == "finished" else {}
    return Record(
        id=f"{row}-{seed}-{scale}-{data}",
        name="maml",
        row=row,
        seed=seed,
        status=status,
        parametrization="mup",
        data=data,
        checksum="",
        hardware="2 threads of a CPU",
        commit="abc",
        wall_seconds=60.0,
        peak_memory_bytes=2**30,
        best_epoch=1,
        metrics=metrics,
        curve=[],
        config=kept_config(planned.config),
        fingerprint=fingerprint,
        **more,
    )


def write(results, records):
    store.write_csv(results / "maml" / store.RUNS_CSV, records)


def code_of_today(results):
    """The digest of code that stands, kept beside the results: a record that it made is not marked."""
    return keep_code(["infwidth.errors"], results)

"""The report of one experiment: from its records to table, figures and a section of the page."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from infwidth.config import load as load_config
from infwidth.errors import DataError
from infwidth.reporting import figures, order, pca, records, table
from infwidth.reporting.page import Section
from infwidth.reporting.records import Record


@dataclass(frozen=True, kw_only=True)
class PanelRecipe:
    """A panel of the PCA picture: the features of a row, 'initial' or 'trained'."""

    title: str
    row: str
    which: str


@dataclass(frozen=True, kw_only=True)
class ScaleRecipe:
    """What a scale runs: seeds by default, rows (null: all), and whether hyperparameter candidates are tried."""

    seeds: int
    candidates: bool
    rows: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """experiments/<name>/recipe.yaml"""

    title: str
    claim: str
    accuracy: str
    curve: str = "validation accuracy (%)"
    columns: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    unseeded: tuple[str, ...] = ()
    rows: tuple[str, ...]
    limits: tuple[str, ...]
    curves: tuple[str, ...]
    pca_title: str
    pca: tuple[PanelRecipe, ...]
    demo: ScaleRecipe
    cpu: ScaleRecipe
    paper: ScaleRecipe


def read_recipe(folder: Path) -> Recipe | None:
    """The recipe of an experiment folder; None if it has none. ConfigError for a wrong key."""
    path = folder / "recipe.yaml"
    return (
        load_config(Recipe, yaml.safe_load(path.read_text()), f"{path.name} of {folder.name}")
        if path.exists()
        else None
    )


def report(name: str, folder: Path, results: Path, outdated: Callable[[str, str, str, str], bool]) -> Section:
    """Write results/<name>/ (runs.csv, table.csv, table.md, figures) from the records of an experiment with a recipe.

    Figures show the largest scale that has runs; the table has all. outdated(commit, task, model, experiment): whether the source has changed since in what concerns such runs.
    """
    recipe, found = read_recipe(folder), records.load(results, name)
    if not found:
        raise DataError(f"experiment {name} has no finished runs in {results}; run `make reproduce-{name}` first.")
    output = results / name
    output.mkdir(parents=True, exist_ok=True)
    records.write_csv(output / records.RUNS_CSV, found)
    paper = table.read_paper(folder / "paper.csv")
    labels = dict(zip(paper.row, paper.label, strict=True))
    built, behind, notes = table.build(found, paper, recipe.rows)
    table.write_csv(built, output / "table.csv")
    stale = {
        (r.row, r.commit)
        for r in found
        if outdated(r.commit, r.config["task"]["name"], r.config["model"]["name"], name)
    }
    shown = table.display(built, labels, set(paper.data), stale, recipe.columns)
    scales = sorted({s for r in found for s in r.scale.split()}, key=records.SCALES.index)
    scale = scales[-1]
    data = Counter(r.data for r in found if scale in r.scale.split()).most_common(1)[0][0]
    drawn = {row: runs for (row, s, d), runs in behind.items() if (s, d) == (scale, data)}
    if stale:
        notes.append(
            "† made by a commit whose models, tasks, data, training or configs differ from the present ones, or with changes that were not committed."
        )
    made = f"{scale} scale, {data}"
    notes += _order(recipe, drawn, labels, made, output)
    notes += _panel_table(recipe, drawn, output)
    lists = _neighbours(recipe, drawn, labels, made, output)
    (output / "table.md").write_text(
        f"# {recipe.title}\n\n{table.markdown(shown)}\n" + "\n".join(f"- {n}" for n in notes) + "\n"
    )
    at_scale = built[(built.scale == scale) & (built.data == data)]
    figures.accuracy_vs_width(
        at_scale,
        labels,
        f"{recipe.title}\n{made}",
        recipe.accuracy,
        output / "accuracy_vs_width",
        recipe.limits,
        paper=data in set(paper.data),
    )
    figures.curves(
        {row: drawn[row] for row in recipe.curves if row in drawn},
        labels,
        f"While training\n{made}",
        recipe.curve,
        output / "curves",
    )
    pictures = [
        (output / "accuracy_vs_width.png", f"Accuracy against width, {made}."),
        (
            output / "curves.png",
            f"{recipe.curve[0].upper()}{recipe.curve[1:]} by epoch, {made}; bands from the lowest to the highest seed.",
        ),
    ]
    points = None
    if (output / "pca.json").exists():
        panels = pca.read(output / "pca.json")
        points = pca.points(panels)
        figures.pca(panels, f"{recipe.pca_title}\n{made}", output / "pca")
        pictures.append(
            (
                output / "pca.png",
                f"{recipe.pca_title}, {made}. Silhouette and cross-validated linear probe in the first {pca.COMPONENTS} components.",
            )
        )
    seeds = max(len(runs) for runs in drawn.values())
    command = f"make reproduce-{name} SCALE={scale} SEEDS={seeds}"
    return Section(
        recipe.title,
        recipe.claim,
        "make demo" if scale == "demo" else command,
        shown,
        scales,
        pictures,
        notes,
        lists,
        _provenance(found),
        points,
    )


def _panel_table(recipe: Recipe, drawn: Mapping[str, Sequence[Record]], output: Path) -> list[str]:
    """Draw the panels whose runs are here (lowest seed) and keep them; a line for each. Without the runs the kept ones stand."""
    panels = []
    for wanted in recipe.pca:
        if features := _of_lowest_seed(drawn.get(wanted.row, ()), "features.npz"):
            panels.append(pca.from_run(wanted.title, features.parent, wanted.which))
    if len(panels) == len(recipe.pca) and None in panels:
        return [f"no PCA: fewer than {pca.FOLDS} examples of a class, too few to cross-validate a probe"]
    if len(panels) == len(recipe.pca):
        pca.write(panels, output / "pca.json")
    if not (output / "pca.json").exists():
        return []
    return [
        f"{p.title}: silhouette {p.silhouette:.3f}, linear probe {p.probe_accuracy:.1f} % (chance {p.chance:.0f} %), {len(p.labels)} examples of {len(p.names)} classes"
        for p in pca.read(output / "pca.json")
    ]


def _of_lowest_seed(runs: Sequence[Record], file: str) -> Path | None:
    """That file of the run of lowest seed whose folder is here and has it."""
    local = sorted((r for r in runs if r.folder and (Path(r.folder) / file).exists()), key=lambda r: r.seed)
    return Path(local[0].folder) / file if local else None


def _order(
    recipe: Recipe, drawn: Mapping[str, Sequence[Record]], labels: Mapping[str, str], made: str, output: Path
) -> list[str]:
    """Whether each row of the recipe's order is above the one before it; a line for each. Without the runs what was found stands."""
    found = order.comparisons(recipe.order, drawn)
    if found and len(found) == len(recipe.order) - 1:
        order.write(found, made, output / "order.json")
    return [c.sentence(labels) for c in order.read(output / "order.json", made)]


def _neighbours(
    recipe: Recipe, drawn: Mapping[str, Sequence[Record]], labels: Mapping[str, str], made: str, output: Path
) -> list[tuple[str, pd.DataFrame]]:
    """Nearest words under the recipe's rows (lowest seed), kept beside the table."""
    path, rows = output / "neighbours.json", {}
    for row in recipe.neighbours:
        if evidence := _of_lowest_seed(drawn.get(row, ()), "evidence.json"):
            rows[row] = json.loads(evidence.read_text())["neighbours"]
    if rows and len(rows) == len(recipe.neighbours):
        path.write_text(json.dumps({"made": made, "rows": rows}, ensure_ascii=False, indent=1) + "\n")
    kept = json.loads(path.read_text()) if path.exists() else {"made": None}
    if kept["made"] != made:
        return []
    lines = [
        {
            "word": near["word"],
            "vectors": labels.get(row, row),
            "nearest words (cosine)": ", ".join(f"{w} {c:.2f}" for w, c in near["nearest"]),
        }
        for row, words in kept["rows"].items()
        for near in words
    ]
    return [("Nearest words", pd.DataFrame(lines).sort_values("word", kind="stable"))] if lines else []


def _provenance(found: Sequence[Record]) -> str:
    hours = sum(r.wall_seconds for r in found) / 3600
    peak = max(r.peak_memory_bytes for r in found) / 2**30
    hardware = "; ".join(sorted({r.hardware for r in found}))
    versions = found[0].versions
    packages = ", ".join(f"{p} {versions[p]}" for p in ("python", "torch", "numpy") if p in versions)
    return f"{len(found)} runs, {hours:.2f} hours in all, peak memory {peak:.1f} GiB, on {hardware}; {packages}; commits {' '.join(sorted({r.commit for r in found}))}."


def report_sweep(name: str, results: Path) -> Section:
    """Table and figure of any set of runs: the keys that differ among them are found, not told.

    The numeric key of most values is the x axis, the other keys are lines; seeds are averaged. Writes results/<name>/.
    """
    found = records.load(results, name)
    # A sweep done anew is the runs that are here; runs.csv is for those that were cleared away.
    found = [r for r in found if r.folder] or found
    if not found:
        raise DataError(f"there are no finished runs named {name} in {results}/runs; check the name or run them first.")
    output = results / name
    output.mkdir(parents=True, exist_ok=True)
    records.write_csv(output / records.RUNS_CSV, found)
    flat = [{**table.flattened(r.config), "data": r.data, "scale": r.scale} for r in found]
    flat = [
        {k: v for k, v in f.items() if k not in ("data.root", "data.mirror") and not k.startswith("trainer.device")}
        for f in flat
    ]
    keys = sorted({k for f in flat for k in f})
    varied = [k for k in keys if len({repr(f.get(k)) for f in flat}) > 1]
    rows: dict[tuple, list[Record]] = {}
    for f, record in zip(flat, found, strict=True):
        rows.setdefault(tuple(_readable(f.get(k)) for k in varied), []).append(record)
    lines = []
    for values, group in rows.items():
        accuracies = [r.metrics["test/accuracy"] for r in group if "test/accuracy" in r.metrics]
        series = pd.Series(accuracies, dtype=float)
        lines.append({
            **dict(zip(varied, values, strict=True)), "mean": series.mean() if len(series) else math.nan, "std": series.std() if len(series) > 1 else math.nan,
            "seeds": len(series), "diverged": len(group) - len(series), "data": group[0].data, "scale": group[0].scale, "commit": " ".join(sorted({r.commit for r in group})),
        })  # fmt: skip
    frame = (
        pd.DataFrame(lines).sort_values(varied, key=lambda c: pd.to_numeric(c, errors="coerce").fillna(math.inf))
        if varied
        else pd.DataFrame(lines)
    )
    frame.round(3).to_csv(output / "table.csv", index=False, lineterminator="\n")
    shown = frame.assign(
        mean=frame["mean"].map("{:.2f}".format), std=frame["std"].map(lambda v: "" if math.isnan(v) else f"{v:.2f}")
    )
    (output / "table.md").write_text(f"# {name}\n\n{table.markdown(shown)}")
    numeric = [k for k in varied if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in frame[k])]
    x = max(numeric, key=lambda k: frame[k].nunique(), default=None)
    others = [k for k in varied if k != x]
    frame["_line"] = frame.apply(lambda r: ", ".join(f"{k.split('.')[-1]} = {r[k]}" for k in others) or name, axis=1)
    figures.sweep(frame, x, "_line", name, "test accuracy (%)", output / "accuracy")
    return Section(
        f"Sweep: {name}", f"Swept: {', '.join(varied) or 'seeds only'}.", f"python -m infwidth.report name={name}", shown, sorted({r.scale for r in found}),
        [(output / "accuracy.png", f"Test accuracy of the sweep {name}.")], provenance=_provenance(found),
    )  # fmt: skip


def _readable(value: Any) -> Any:
    return value if isinstance(value, (int, float, str)) and not isinstance(value, bool) else str(value)

"""The report of one experiment: from the records of its planned runs to table, figures and a section of the page."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from infwidth.errors import DataError
from infwidth.places import EXPERIMENTS
from infwidth.reporting import bounded, figures, kept, order, pca, provenance, sweep, table
from infwidth.reporting.page import Section
from infwidth.reporting.table import MARK, Line
from infwidth.runs import plan as plans
from infwidth.runs import store
from infwidth.runs.plan import Plan
from infwidth.runs.spec import SCALES
from infwidth.runs.store import Record

MARKED = (
    f"{MARK} the code that made it has changed since, and it was not replayed (`make replay`) or came out otherwise: "
    "it may not come out the same today."
)


BOUNDED = "Bounded rows beside all rows"


@dataclass(frozen=True)
class Shown:
    """What the figures of a report show: the rows of one scale on one kind of data, with the runs behind each."""

    scale: str
    data: str
    drawn: Mapping[str, Sequence[Record]]

    @property
    def made(self) -> str:
        return f"{self.scale} scale, {self.data}"


def report(plan: Plan, results: Path, marked: Callable[[Record], bool]) -> tuple[list[Section], list[Record]]:
    """Write results/<name>/ (runs.csv, table.csv, table.md, figures) from the records of a plan.

    marked: whether the code that a run used has changed since.
    Returns the section of the table, one of the other runs of that name if there are any, and the records that stand
    in the table.
    """
    found = store.load(results, plan.name)
    lines, others = table.lines(found, plan, marked)
    output = results / plan.name
    sections = []
    planned = sorted({r.id: r for line in lines for r in line.records}.values(), key=lambda r: (r.row, r.seed, r.id))
    competing = [r for r in found if r not in others]
    if planned:
        output.mkdir(parents=True, exist_ok=True)
        store.write_csv(output / store.RUNS_CSV, competing)
        plans.keep(plan, output)
        sections.append(_section(plan, lines, planned, output))
    local = [r for r in others if r.folder]
    if local:
        sections.append(sweep.section(f"{plan.name}: other runs", local, results / f"{plan.name}_others"))
    if not sections:
        raise DataError(
            f"experiment {plan.name} has no finished runs in {results}; run `make reproduce-{plan.name}` first."
        )
    return sections, competing


def _section(plan: Plan, lines: Sequence[Line], planned: Sequence[Record], output: Path) -> Section:
    recipe = plan.recipe
    paper = table.read_paper(EXPERIMENTS / plan.experiment / "paper.csv")
    labels = dict(zip(paper.row, paper.label, strict=True))
    paper = paper if plan.published else paper.assign(paper=float("nan"))
    built = table.build(lines, paper)
    table.write_csv(built, output / "table.csv")
    shown = table.display(built, lines, labels, recipe.columns)
    notes = [note for group in table.same_runs(lines) for note in (*group[-1].notes, _projections(group[-1], labels))]
    notes = [note for note in notes if note]
    if any(line.marked for line in lines):
        notes.append(MARKED)
    if not plan.published:
        notes.append(f"not the published settings: {', '.join(plan.overrides)}")
    view = most_complete(lines, plan)
    notes += _order(recipe, view, labels, output)
    panels = _panels(recipe, view, output)
    notes += [_separation(p) for p in panels]
    tables = _neighbours(recipe, view, labels, output)
    compared = bounded.epochs(recipe.exact or {}, view.drawn, output / bounded.KEPT)
    if compared:
        tables.append((f"{BOUNDED}, {view.made}", bounded.table(compared, recipe.exact, view.drawn, labels)))
    text = "".join(f"- {note}\n" for note in notes)
    more = "".join(f"\n**{title}**\n\n{table.markdown(frame)}" for title, frame in tables if title.startswith(BOUNDED))
    (output / "table.md").write_text(f"# {recipe.title}\n\n{table.markdown(shown)}\n{text}{more}", encoding="utf-8")
    pictures = _pictures(plan, view, built, labels, panels, output, bool(paper.data.eq(view.data).any()))
    if compared:
        pictures += _of_bounded(compared, plan, view, labels, output)
    return Section(
        recipe.title,
        recipe.claim,
        _command(plan, view),
        shown,
        sorted({line.scale for line in lines}, key=SCALES.index),
        pictures,
        notes,
        tables,
        provenance.sentence(planned),
        pca.points(panels) if panels else None,
    )


def _projections(line: Line, labels: Mapping[str, str]) -> str:
    return bounded.note(f"{labels.get(line.row, line.row)} ({line.scale})", line.records)


def _of_bounded(
    compared: Sequence[bounded.Epoch], plan: Plan, view: Shown, labels: Mapping[str, str], output: Path
) -> list[tuple[Path, str]]:
    """Draw what landmarks change and save; the figures and what they show."""
    exact, title = plan.recipe.exact or {}, f"{plan.recipe.title}\n{view.made}"
    bounded.by_epoch(compared, labels, title, output / "bounded")
    bounded.by_landmarks(compared, exact, view.drawn, labels, title, plan.recipe.accuracy, output / "landmarks")
    return [
        (output / "bounded.png", f"Against epochs, means over seeds, {view.made}."),
        (
            output / "landmarks.png",
            f"Test accuracy against CPU time; bars from the lowest to the highest seed, {view.made}.",
        ),
    ]


def most_complete(lines: Sequence[Line], plan: Plan) -> Shown:
    """The scale and data of which the largest share of the planned rows is there, the larger scale of two.

    A single run at a larger scale does not empty the figures.
    """
    counts: dict[tuple[str, str], int] = {}
    for line in lines:
        counts[line.scale, line.data] = counts.get((line.scale, line.data), 0) + 1

    def rank(key: tuple[str, str]) -> tuple[float, int]:
        scale, _ = key
        return counts[key] / plan.size(scale), SCALES.index(scale)

    scale, data = max(sorted(counts), key=rank)
    drawn = {line.row: line.finished for line in lines if (line.scale, line.data) == (scale, data)}
    return Shown(scale, data, drawn)


def _command(plan: Plan, view: Shown) -> str:
    counts = {row: len(records) for row, records in view.drawn.items()}
    as_planned = all(count == plan.recipe.seeds_of(row, view.scale) for row, count in counts.items())
    seeds = None if as_planned else max(counts.values())
    if not plan.published:
        overrides = ",".join(f'"{o}"' for o in plan.overrides)
        asked = "" if seeds is None else f"seeds={seeds} "
        return (
            f"python -m infwidth.reproduce experiment={plan.experiment} scale={view.scale} {asked}"
            f"'overrides=[{overrides}]'"
        )
    if view.scale == "demo":
        return "make demo"
    return f"make reproduce-{plan.name} SCALE={view.scale}" + ("" if seeds is None else f" SEEDS={seeds}")


def _pictures(
    plan: Plan,
    view: Shown,
    built: pd.DataFrame,
    labels: Mapping[str, str],
    panels: Sequence[pca.Panel],
    output: Path,
    paper: bool,
) -> list[tuple[Path, str]]:
    """Draw the figures; their paths and what they show."""
    recipe = plan.recipe
    at_view = built[(built.scale == view.scale) & (built.data == view.data)]
    title = f"{recipe.title}\n{view.made}"
    pictures = []
    if recipe.limits:
        figures.accuracy_vs_width(
            at_view, labels, title, recipe.accuracy, output / "accuracy_vs_width", recipe.limits, paper=paper
        )
        pictures.append((output / "accuracy_vs_width.png", f"Accuracy against width, {view.made}."))
    curves = {row: view.drawn[row] for row in recipe.curves if row in view.drawn}
    on_test = any(r.config["trainer"]["selection"] == "paper" for records in curves.values() for r in records)
    curve = "test accuracy (%)" if on_test else recipe.curve
    figures.curves(curves, labels, f"While training\n{view.made}", curve, output / "curves")
    sentence = f"{curve[0].upper()}{curve[1:]} by epoch, {view.made}; bands from the lowest to the highest seed."
    pictures.append((output / "curves.png", sentence))
    if panels:
        figures.pca(panels, f"{recipe.pca_title}\n{view.made}", output / "pca")
        numbers = f"Silhouette and cross-validated linear probe in the first {pca.COMPONENTS} components."
        pictures.append((output / "pca.png", f"{recipe.pca_title}, {view.made}. {numbers}"))
    return pictures


def _panels(recipe: plans.Recipe, view: Shown, output: Path) -> list[pca.Panel]:
    """The panels of the PCA picture.

    From the runs that are here (lowest seed), else those kept of the runs in the table.
    """
    path, sources = output / "pca.json", []
    for wanted in recipe.pca:
        if found := kept.of_lowest_seed(view.drawn.get(wanted.row, ()), "features.npz"):
            sources.append((wanted, *found))
    if len(sources) == len(recipe.pca):
        panels = [pca.from_run(wanted.title, file, wanted.which) for wanted, _, file in sources]
        if None in panels:  # fewer examples of a class than a probe is cross-validated with
            return []
        kept.write(path, [record for _, record, _ in sources], pca.as_rows(panels))
    rows = kept.read(path, view.drawn)
    return pca.from_rows(rows, path) if rows else []


def _separation(panel: pca.Panel) -> str:
    return (
        f"{panel.title}: silhouette {panel.silhouette:.3f}, linear probe {panel.probe_accuracy:.1f} % (chance "
        f"{panel.chance:.0f} %), {len(panel.labels)} examples of {len(panel.names)} classes"
    )


def _order(recipe: plans.Recipe, view: Shown, labels: Mapping[str, str], output: Path) -> list[str]:
    """Whether each row of the recipe's order is above the one before it; a line for each."""
    path, found = output / "order.json", order.comparisons(recipe.order, view.drawn)
    if found and len(found) == len(recipe.order) - 1:
        compared = [record for row in recipe.order for record in view.drawn[row]]
        rounded = [{k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(c).items()} for c in found]
        kept.write(path, compared, rounded)
    rows = kept.read(path, view.drawn) or []
    return [order.Comparison(**row).sentence(labels) for row in rows]


def _neighbours(
    recipe: plans.Recipe, view: Shown, labels: Mapping[str, str], output: Path
) -> list[tuple[str, pd.DataFrame]]:
    """Nearest words under the recipe's rows (lowest seed)."""
    path, rows, sources = output / "neighbours.json", {}, []
    for row in recipe.neighbours:
        if found := kept.of_lowest_seed(view.drawn.get(row, ()), "evidence.json"):
            record, file = found
            sources.append(record)
            rows[row] = json.loads(file.read_text(encoding="utf-8"))["neighbours"]
    if rows and len(rows) == len(recipe.neighbours):
        kept.write(path, sources, rows)
    lines = []
    for row, words in (kept.read(path, view.drawn) or {}).items():
        for near in words:
            nearest = ", ".join(f"{word} {cosine:.2f}" for word, cosine in near["nearest"])
            lines.append({"word": near["word"], "vectors": labels.get(row, row), "nearest words (cosine)": nearest})
    return [("Nearest words", pd.DataFrame(lines).sort_values("word", kind="stable"))] if lines else []

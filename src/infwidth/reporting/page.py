"""The report page: one HTML file that opens from disk without a network."""

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from PIL import Image

from infwidth.reporting.figures import dark_of

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c1e21; --paper: #ffffff; --soft: #5f6670; --line: #d9dde2; --mark: #8a5a00; --markpaper: #fff4dc;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --paper: #16181c; --soft: #a3abb6; --line: #3a3f47; --mark: #ffd27a; --markpaper: #3a2e12; }
}
body {
  margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem;
  font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
}
h1 { font-size: 1.7rem; margin: 0 0 .3rem; }
h2 { margin: 2.5rem 0 .4rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .65rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td:last-child, th:last-child { white-space: normal; min-width: 9rem; }
img { max-width: 100%; height: auto; border-radius: 6px; margin: .6rem 0; }
pre {
  background: color-mix(in srgb, var(--ink) 7%, var(--paper));
  padding: .6rem .8rem; border-radius: 6px; overflow-x: auto;
}
.scale {
  background: var(--markpaper); color: var(--mark);
  padding: .15rem .5rem; border-radius: 4px; font-size: .85rem; font-weight: 600;
}
figure { margin: 0; overflow-x: auto; } nav { margin: 1rem 0; } nav a { margin-right: 1.2rem; } a { color: inherit; }
@media (max-width: 600px) {
  th, td { padding: .3rem .45rem; }
  td:first-child, th:first-child {
    white-space: normal; min-width: 6.5rem; position: sticky; left: 0; background: var(--paper);
  }
  figure img { max-width: none; width: 40rem; }
  figcaption { position: sticky; left: 0; width: calc(100vw - 2rem); }
}
@media print {
  figure { overflow: visible; }
  body { max-width: none; }
  h2 { break-after: avoid; }
  img, table { break-inside: avoid; }
}
"""


@dataclass(frozen=True)
class Section:
    """One experiment on the page. figures: paths with what they show; notes: sentences below the table;
    tables: more of them, with their titles; points: of the PCA picture, for W&B."""

    title: str
    claim: str
    command: str
    table: pd.DataFrame
    scales: Sequence[str]
    figures: Sequence[tuple[Path, str]]
    notes: Sequence[str] = field(default_factory=list)
    tables: Sequence[tuple[str, pd.DataFrame]] = field(default_factory=list)
    provenance: str = ""
    points: pd.DataFrame | None = None


@dataclass(frozen=True)
class Opening:
    """A table that the page opens with, and a sentence below it."""

    title: str
    table: pd.DataFrame
    sentence: str


SCALE_MARKS = {
    "demo": "demo scale: generated data, shows that everything works, reproduces nothing",
    "cpu": "cpu scale: real data, fewer steps than published",
}


def _table(frame: pd.DataFrame) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in frame.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(v))}</td>" for v in row) + "</tr>" for row in frame.values.tolist()
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _picture(path: Path, text: str) -> str:
    """The image, and its dark variant for dark screens; paper gets the light one."""
    dark = (
        f'<source media="screen and (prefers-color-scheme: dark)" srcset="{_embedded(dark_of(path))}">'
        if dark_of(path).exists()
        else ""
    )
    return f'<picture>{dark}<img alt="{html.escape(text)}" src="{_embedded(path)}"></picture>'


def _embedded(path: Path) -> str:
    """A data URI of the image in a palette of 256 colours: a third of the size, and figures have no more."""
    small = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"


def _section(section: Section) -> str:
    marks = "".join(
        f'<p><span class="scale">{html.escape(SCALE_MARKS[s])}</span></p>' for s in section.scales if s in SCALE_MARKS
    )
    figures = "".join(
        f'<figure>{_picture(path, text)}<figcaption class="soft">{html.escape(text)}</figcaption></figure>'
        for path, text in section.figures
    )
    notes = "".join(f'<p class="soft">{html.escape(n)}</p>' for n in section.notes)
    more = "".join(f"<h3>{html.escape(title)}</h3>{_table(frame)}" for title, frame in section.tables)
    return (
        f'<section id="{_anchor(section)}"><h2>{html.escape(section.title)}</h2>'
        f"<p>{html.escape(section.claim)}</p>{marks}{_table(section.table)}{notes}{figures}{more}"
        f"<p>Made by</p><pre>{html.escape(section.command)}</pre>"
        f'<p class="soft">{html.escape(section.provenance)}</p></section>'
    )


def _anchor(section: Section) -> str:
    return re.sub(r"\W+", "-", section.title.split(":")[0].lower()).strip("-") + f"-{len(section.title)}"


def _opening(opening: Opening) -> str:
    return (
        f"<section><h2>{html.escape(opening.title)}</h2>{_table(opening.table)}"
        f'<p class="soft">{html.escape(opening.sentence)}</p></section>'
    )


def write(path: Path, sections: Sequence[Section], openings: Sequence[Opening] = ()) -> None:
    """Write the page with a section per experiment, below what it opens with."""
    body = "".join(map(_section, sections)) or "<p>No experiment has finished runs yet.</p>"
    first = "".join(map(_opening, openings))
    links = (
        "".join(f'<a href="#{_anchor(s)}">{html.escape(s.title)}</a>' for s in sections) if len(sections) > 1 else ""
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>infwidth: results</title><style>{STYLE}</style></head>"
        "<body><h1>infwidth: results</h1>"
        '<p class="soft">Infinitely wide neural networks that learn features, '
        "beside the finite networks they are limits of. "
        "Every number comes from run directories; accuracies in per cent, ± is the standard deviation over seeds.</p>"
        f"<nav>{links}</nav>{first}{body}</body></html>\n"
    )

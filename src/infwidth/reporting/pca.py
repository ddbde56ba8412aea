"""PCA of the probe's features, with the separation of its classes in numbers: silhouette and linear-probe accuracy."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

COMPONENTS = 10
"""Principal components the two numbers are computed in: the same for every model, whatever its width."""

FOLDS = 5


@dataclass(frozen=True)
class Panel:
    """One picture: points (examples, 2), the class of each, class names, silhouette in [-1, 1], probe accuracy in per cent, and
    the examples' own names if they have any."""

    title: str
    points: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    explained: float
    silhouette: float
    probe_accuracy: float
    examples: tuple[str, ...] = ()

    @property
    def chance(self) -> float:
        """Per cent that always naming the largest class gets right."""
        return 100 * np.bincount(self.labels).max() / len(self.labels)


def panel(
    title: str, features: np.ndarray, labels: np.ndarray, names: tuple[str, ...], examples: tuple[str, ...] = ()
) -> Panel:
    """The first two principal components of features (examples, m), and how well the classes separate in the first ten."""
    reduced = PCA(min(COMPONENTS, *features.shape), svd_solver="full").fit(features.astype(np.float64))
    coordinates = reduced.transform(features.astype(np.float64))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return Panel(
        title, coordinates[:, :2], labels, names, 100 * reduced.explained_variance_ratio_[:2].sum(), silhouette_score(coordinates, labels),
        100 * cross_val_score(probe, coordinates, labels, cv=folds).mean(), examples,
    )  # fmt: skip


def from_run(title: str, folder: Path, which: str) -> Panel | None:
    """A panel from a run's features.npz; which: 'initial' or 'trained'. None if a class has too few examples."""
    with np.load(folder / "features.npz", allow_pickle=False) as z:
        if np.bincount(z["labels"], minlength=len(z["names"])).min() < FOLDS:
            return None
        examples = tuple(z["examples"].tolist()) if "examples" in z else ()
        return panel(title, z[which], z["labels"], tuple(z["names"].tolist()), examples)


def points(panels: list[Panel]) -> pd.DataFrame:
    """All points, a line each: panel, class, example, first and second principal component."""
    lines = [
        (p.title, p.names[label], example, *point)
        for p in panels
        for point, label, example in zip(
            p.points.tolist(), p.labels.tolist(), p.examples or [""] * len(p.labels), strict=True
        )
    ]
    return pd.DataFrame(lines, columns=["panel", "class", "example", "component_1", "component_2"])


def write(panels: list[Panel], path: Path) -> None:
    """Keep the panels as JSON, so that a clone without the runs can draw them."""
    rows = [{**vars(p), "points": np.round(p.points, 4).tolist(), "labels": p.labels.tolist()} for p in panels]
    path.write_text(json.dumps(rows, indent=None, separators=(",", ":"), ensure_ascii=False, default=float) + "\n")


def read(path: Path) -> list[Panel]:
    def build(row: Mapping) -> Panel:
        return Panel(
            **{
                **row,
                "points": np.array(row["points"]),
                "labels": np.array(row["labels"]),
                "names": tuple(row["names"]),
                "examples": tuple(row.get("examples", ())),
            }
        )

    return [build(row) for row in json.loads(path.read_text())]

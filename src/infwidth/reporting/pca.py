"""PCA of the probe's features, with the separation of its classes in numbers: silhouette and linear-probe accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import silhouette_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from infwidth.errors import DataError

COMPONENTS = 10
"""Principal components the two numbers are computed in: the same for every model, whatever its width."""

FOLDS = 5


@dataclass(frozen=True)
class Panel:
    """One picture.

    Points (examples, 2), the class of each, class names, silhouette in [-1, 1], probe accuracy in per cent,
    and the examples' own names if they have any.
    """

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
    """The first two principal components of features (examples, m).

    And how well the classes separate in the first ten.
    """
    reduced = PCA(min(COMPONENTS, *features.shape), svd_solver="full").fit(features.astype(np.float64))
    coordinates = reduced.transform(features.astype(np.float64))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return Panel(
        title,
        coordinates[:, :2],
        labels,
        names,
        100 * reduced.explained_variance_ratio_[:2].sum(),
        silhouette_score(coordinates, labels),
        100 * cross_val_score(probe, coordinates, labels, cv=folds).mean(),
        examples,
    )


def from_run(title: str, path: Path, which: str) -> Panel | None:
    """A panel from a run's features.npz; which: 'initial' or 'trained'. None if a class has too few examples."""
    try:
        with np.load(path, allow_pickle=False) as z:
            if np.bincount(z["labels"], minlength=len(z["names"])).min() < FOLDS:
                return None
            examples = tuple(z["examples"].tolist()) if "examples" in z else ()
            return panel(title, z[which], z["labels"], tuple(z["names"].tolist()), examples)
    except (OSError, ValueError, KeyError, EOFError, TypeError) as e:
        raise DataError(f"{path} is damaged ({e}); delete the run's folder and run its experiment again.") from e


def points(panels: Sequence[Panel]) -> pd.DataFrame:
    """All points, a line each: panel, class, example, first and second principal component."""
    lines = [
        (p.title, p.names[label], example, *point)
        for p in panels
        for point, label, example in zip(
            p.points.tolist(), p.labels.tolist(), p.examples or [""] * len(p.labels), strict=True
        )
    ]
    return pd.DataFrame(lines, columns=["panel", "class", "example", "component_1", "component_2"])


def as_rows(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """The panels as JSON."""
    return [{**vars(p), "points": np.round(p.points, 4).tolist(), "labels": p.labels.tolist()} for p in panels]


def from_rows(rows: Sequence[Mapping[str, Any]], where: Path) -> list[Panel]:
    """The panels again. DataError if the rows are none."""
    try:
        return [
            Panel(
                **{
                    **row,
                    "points": np.array(row["points"]).reshape(-1, 2),
                    "labels": np.array(row["labels"], dtype=np.int64),
                    "names": tuple(row["names"]),
                    "examples": tuple(row.get("examples", ())),
                }
            )
            for row in rows
        ]
    except (ValueError, KeyError, TypeError) as e:
        raise DataError(f"{where} cannot be read ({type(e).__name__}: {e}); remove it or restore it from git.") from e

"""Whether one row answers more questions than another.

Differences paired over questions and seeds, with their intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infwidth.errors import DataError
from infwidth.runs.store import Record

RESAMPLES, AT_ONCE = 10_000, 500


@dataclass(frozen=True)
class Comparison:
    """Row ``better`` minus row ``worse`` in points of accuracy.

    Mean and 95 % interval, over this many questions and seeds.
    """

    worse: str
    better: str
    difference: float
    low: float
    high: float
    questions: int
    seeds: int

    def sentence(self, labels: Mapping[str, str]) -> str:
        names = labels.get(self.better, self.better), labels.get(self.worse, self.worse)
        verdict = "higher" if self.low > 0 else "lower" if self.high < 0 else "not told apart"
        resampled = (
            "both resampled" if self.seeds > 1 else "the questions resampled; the spread over seeds is not in it"
        )
        return (
            f"{names[0]} minus {names[1]}: {self.difference:+.2f} points, "
            f"95 % interval [{self.low:+.2f}, {self.high:+.2f}] "
            f"({verdict}; paired over {self.questions} questions "
            f"and {self.seeds} seed{'s' if self.seeds > 1 else ''}, {resampled})"
        )


def compare(worse: str, better: str, answers: Mapping[str, np.ndarray]) -> Comparison:
    """The comparison of two rows by their answers.

    answers: for each row whether each seed answered each question rightly, (seeds, questions) bool,
    seeds and questions in order.
    """
    difference = 100 * (answers[better].astype(np.float64) - answers[worse])
    seeds, questions = difference.shape
    rng = np.random.default_rng(0)
    # Resampling seeds and questions independently: their effects are crossed. A question drawn k times weighs k.
    chance = np.full(questions, 1 / questions)
    by_seed = np.concatenate(
        [rng.multinomial(questions, chance, AT_ONCE) @ difference.T / questions for _ in range(RESAMPLES // AT_ONCE)]
    )
    drawn = rng.integers(seeds, size=(RESAMPLES, seeds))
    means = np.take_along_axis(by_seed, drawn, 1).mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Comparison(worse, better, difference.mean(), low, high, questions, seeds)


def comparisons(rows: Sequence[str], drawn: Mapping[str, Sequence[Record]]) -> list[Comparison]:
    """Neighbouring rows compared, where the runs of both are here, for the seeds that both have."""
    found = []
    for worse, better in zip(rows, rows[1:], strict=False):
        answers = {row: {r.seed: _answers(r) for r in drawn.get(row, ()) if r.folder} for row in (worse, better)}
        common = sorted(
            s
            for s in answers[worse].keys() & answers[better].keys()
            if answers[worse][s] is not None and answers[better][s] is not None
        )
        if common:
            stacked = {row: np.stack([by_seed[s] for s in common]) for row, by_seed in answers.items()}
            if stacked[worse].shape == stacked[better].shape:
                found.append(compare(worse, better, stacked))
    return found


def _answers(record: Record) -> np.ndarray | None:
    path = Path(record.folder) / "evidence.npz"
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as z:
            return z["correct"] if "correct" in z else None
    except (OSError, ValueError, KeyError, EOFError) as e:
        raise DataError(f"{path} is damaged ({e}); delete the run's folder and run its experiment again.") from e

"""The table of the benchmarks: what is kept in results/benchmarks, each number beside what it was measured against."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.errors import DataError

DECIDES_NUMBERS = False

TITLE = "Benchmarks"
COLUMNS = ["what", "ours", "beside", "theirs", "times as fast"]

Line = tuple[str, str, str, str, float]
PRODUCTS = "its matrix products alone"
REPORTED_ROWS = 50_000
"""Of the pi-limit: the rows at which its step is shown."""


def table(folder: Path) -> pd.DataFrame:
    """A line for each comparison. DataError for a file that is damaged."""
    lines: list[Line] = []
    for name, read in READERS.items():
        path = folder / f"{name}.json"
        if path.exists():
            try:
                lines += read(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as e:
                raise DataError(
                    f"{path} cannot be read ({type(e).__name__}: {e}); restore it from git, or `make bench-{name}`."
                ) from e
    return pd.DataFrame([(*texts, f"{ratio:.2g}") for *texts, ratio in lines], columns=COLUMNS)


def hardware(folder: Path) -> str:
    """What the benchmarks ran on."""
    found = {json.loads(path.read_text(encoding="utf-8"))["hardware"] for path in sorted(folder.glob("*.json"))}
    return f"Measured on {'; '.join(sorted(found))}."


def _seconds(what: str, ours: float, beside: str, theirs: float) -> Line:
    return what, _time(ours), beside, _time(theirs), theirs / ours


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _maml(found: Mapping[str, Any]) -> Iterator[Line]:
    for width, seconds in found["meta_batch_seconds"].items():
        what, ours = f"MAML, meta-batch at width {width}", seconds.get("ours, change of basis", seconds["ours"])
        yield _seconds(what, ours, PRODUCTS, seconds["products"])
        if "learn2learn" in seconds:
            yield _seconds(what, ours, "learn2learn", seconds["learn2learn"])
    sampling = found["sampling_seconds"]
    beside = "learn2learn's TaskDataset"
    yield _seconds("MAML, a meta-batch sampled", sampling["ours"], beside, sampling["learn2learn, float images"])


def _word2vec(found: Mapping[str, Any]) -> Iterator[Line]:
    words, analogies = found["words_per_second"], found["analogies"]
    ours, theirs = words["ours"], words["gensim"]
    yield "CBOW at width 256, words a second", f"{ours:,.0f}", "gensim", f"{theirs:,.0f}", ours / theirs
    for width, minibatch in found["minibatches"].items():
        what = f"CBOW, minibatch at width {'∞' if width == 'inf' else width}"
        bare = minibatch["bare_milliseconds"] / 1000
        yield _seconds(what, minibatch["milliseconds"] / 1000, "its products, gathers and scatters alone", bare)
    what = f"{analogies['questions']:,} analogies"
    yield _seconds(what, analogies["ours_seconds"], "gensim", analogies["gensim_seconds"])


def _pi_limit(found: Mapping[str, Any]) -> Iterator[Line]:
    for step in found["steps"]:
        if step["rows"] == REPORTED_ROWS:
            what = f"π-limit, step of {step['batch']} on {step['rows']:,} rows, {step['storage']}"
            yield _seconds(what, step["step_seconds"], "one product of its arrays", step["unit_seconds"])


def _kernels(found: Mapping[str, Any]) -> Iterator[Line]:
    for kernel in ("NNGP", "NTK"):
        what = f"{kernel} kernel of {found['images']:,} images"
        yield _seconds(what, found[kernel]["seconds"], "X Xᵀ in full", found["X X^T"]["seconds"])
    for kernel, peer in found.get("neural_tangents", {}).items():
        what = f"{kernel} kernel of {peer['images']:,} images"
        yield _seconds(what, peer["ours_seconds"], "neural-tangents", peer["seconds"])


def _maml_pi(found: Mapping[str, Any]) -> Iterator[Line]:
    seconds, what = found["seconds"], f"π-limit, meta-step on {found['rows']:,} rows"
    yield _seconds(what, seconds["meta_step"], "episode by episode", seconds["episode_by_episode"])
    yield _seconds(what, seconds["meta_step"], "an ordinary step on as many examples", seconds["ordinary_step"])


def _sweep(found: Mapping[str, Any]) -> Iterator[Line]:
    seconds = found["seconds"]
    yield _seconds("a sweep by two workers", seconds["joblib, 2 workers"], "one after another", seconds["sequential"])


READERS = {
    "maml": _maml,
    "word2vec": _word2vec,
    "pi_limit": _pi_limit,
    "kernels": _kernels,
    "maml_pi": _maml_pi,
    "sweep": _sweep,
}
"""By the name of a file and of its benchmark."""

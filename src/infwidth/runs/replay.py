"""Would a run come out the same with today's code?

Its first losses, and a shortened twin of it, are computed again and compared.

A twin is the same specification with a few hundred steps, in float64 and on one thread, that passes a milestone,
a validation, a projection, a resumption and the conclusion.
In float64 the rounding of another CPU stays so small that any change of what is computed stands out.

Two grades of agreement: 'bitwise', every number equal to the last digit; and 'close', for another CPU or another
version of a library: 1e-5 at the first loss of the run itself, growing to 1e-3 at the tenth, and 1e-6 for all that
the twin says.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

DECIDES_NUMBERS = False

FIRST = 10
"""Losses of the run itself that are kept."""

EPOCHS = 3
"""Of a twin that is trained."""

EVERY = 10
"""Of the twin's losses the first ten are kept, then every tenth, and the last."""

OF_TWIN = 1e-6
POINTS = 0.5
"""By how many points an accuracy of a twin may differ on another CPU: a few of its examples lie on the boundary."""


def twin(config: Mapping[str, Any], shortened: Mapping[str, Any]) -> dict[str, Any]:
    """The plain config of the shortened twin of a run. shortened: dotted keys, as the run's task and model say them.

    Keys that the config does not have are passed over, and data keep their own number if it is smaller:
    a generated text is small.
    """
    found = copy.deepcopy(dict(config))
    trainer, schedule = found["trainer"], found["trainer"]["schedule"]
    trainer |= {"dtype": "float64", "threads": 1, "progress": False, "evaluate_every": 1, "checkpoint_every": 1}
    trainer["stop_epoch"] = None
    if trainer["epochs"]:
        trainer["epochs"] = min(trainer["epochs"], EPOCHS)
        schedule["milestones"] = list(range(1, trainer["epochs"]))[: len(schedule["milestones"])]
        if schedule["name"] == "multistep" and not schedule["milestones"]:
            schedule["name"] = "constant"
    small_text = found["data"].get("min_count", 0) < 5
    for path, value in shortened.items():
        *groups, last = path.split(".")
        group = found
        for name in groups:
            group = group[name]
        if last in group and not (groups[0] == "data" and small_text):
            group[last] = value if group[last] is None or isinstance(value, str) else min(value, group[last])
    return found


def thinned(losses: Sequence[float]) -> list[float]:
    """The losses of a twin that are kept."""
    kept = [i for i in range(len(losses)) if i < FIRST or (i + 1) % EVERY == 0 or i == len(losses) - 1]
    return [losses[i] for i in kept]


def disagreement(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str | None, str]:
    """The grade at which two records agree, None if they do not, and where they first differ, in words.

    A record has 'first' (losses), 'losses' and 'metrics' (of the twin).
    """
    if _equal(before, after):
        return "bitwise", ""
    for part in ("first", "losses"):
        found = _lists(part, before[part], after[part])
        if found:
            return None, found
    missing = before["metrics"].keys() - after["metrics"].keys()
    if missing:
        return None, f"the twin lacks {', '.join(sorted(missing))}"
    for name, value in before["metrics"].items():
        points = POINTS if "accuracy" in name or name.startswith("test/section") else 0.0
        if not _close(value, after["metrics"][name], OF_TWIN, points):
            return None, f"the twin's {name} was {value} and is {after['metrics'][name]}"
    return "close", ""


def _lists(part: str, before: Sequence[float], after: Sequence[float]) -> str:
    """Where two lists of losses differ by more than rounding; empty where they do not."""
    whose = "the run's" if part == "first" else "the twin's"
    if len(before) != len(after):
        return f"{whose} losses are {len(after)} instead of {len(before)}"
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        tolerance = 10 ** (-5 + 2 * i / max(FIRST - 1, 1)) if part == "first" else OF_TWIN
        if not _close(old, new, tolerance, 0.0):
            return f"{whose} loss at step {i + 1} was {old:.9g} and is {new:.9g}"
    return ""


def _close(old: float | None, new: float | None, relative: float, absolute: float) -> bool:
    if old is None or new is None:
        return old is new
    return math.isclose(old, new, rel_tol=relative, abs_tol=max(absolute, 1e-12))


def _equal(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    same = all(after["metrics"].get(name) == value for name, value in before["metrics"].items())
    return same and all(before[part] == after[part] for part in ("first", "losses"))

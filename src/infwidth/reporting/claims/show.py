"""Verdicts for people: the table that README and page open with, and the numbers behind it."""

from collections.abc import Sequence

import pandas as pd

from infwidth.reporting import table
from infwidth.reporting.claims.estimate import Finding
from infwidth.reporting.claims.verdict import FAIL, NOT_RUN, PASS, Outcome, Verdict, counts
from infwidth.reporting.table import MARK

DECIDES_NUMBERS = False

TITLE = "What the papers claim"
NUMBERS = "## The numbers"
"""Heading of what claims.md has besides the table that README opens with."""

SHOWN = 4
"""Of a claim with more numbers, those that come closest to failing are shown."""

EXPLAINED = (
    f"{PASS}: every 95 % interval lies inside the claim's tolerance; {FAIL}: one does not (undecided: it reaches "
    f"across); {NOT_RUN}: not at the scale that the claim needs. {MARK}: the code has changed since, and what it made "
    "was not replayed."
)


def brief(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Claim, scale and verdict, a line each."""
    lines = [
        {"experiment": v.experiment, "claim": v.claim.sentence, "scale": v.claim.scale, "verdict": verdict(v)}
        for v in verdicts
    ]
    return pd.DataFrame(lines, columns=["experiment", "claim", "scale", "verdict"])


def full(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """The same with where a claim stands in its paper, and its numbers."""
    found = brief(verdicts)
    found.insert(2, "source", [v.claim.source for v in verdicts])
    found["takes"] = [v.takes for v in verdicts]
    found["numbers"] = ["; ".join(numbers(v.outcome)) for v in verdicts]
    return found


def verdict(v: Verdict) -> str:
    """The word, on which data if these stand in for the paper's, why it fails, and what a smaller scale says."""
    if v.word == NOT_RUN:
        marked = f" ({MARK})" if v.outcome.marked and not v.outcome.lacking else ""
        return NOT_RUN + marked + _beside(v.beside)
    undecided = " (undecided)" if v.word == FAIL and v.outcome.undecided else ""
    reason = f": {v.claim.reason}" if v.word == FAIL and v.claim.reason else ""
    return f"{v.word}{_stand_in(v.outcome)}{undecided}{reason}"


def _stand_in(outcome: Outcome) -> str:
    return f" on {outcome.data}" if outcome.stands_in else ""


def _beside(outcome: Outcome | None) -> str:
    return "" if outcome is None else f"; at {outcome.scale}: {says(outcome)}{_stand_in(outcome)}"


def says(outcome: Outcome) -> str:
    """What a scale says of a claim that it does not decide."""
    if outcome.marked:
        return MARK
    return "holds" if outcome.holds else "undecided" if outcome.undecided else "does not hold"


def numbers(outcome: Outcome) -> list[str]:
    """A sentence for each number; of many, those that come closest to failing, or fail."""
    if not outcome.findings:
        return []
    nearest: list[Finding] = sorted(outcome.findings, key=lambda finding: finding.margin)[:SHOWN]
    inside, every = sum(finding.holds for finding in outcome.findings), len(outcome.findings)
    more = [f"{inside} of {every} are inside"] if every > SHOWN else []
    return [finding.sentence for finding in nearest] + more


def made(outcome: Outcome) -> str:
    """Scale, data and seeds of an outcome, and what its intervals do not hold."""
    about = ", ".join(filter(None, (f"scale {outcome.scale}", outcome.data, outcome.seeds)))
    return f"{about}; {outcome.note}" if outcome.note else about


def missing(outcome: Outcome) -> str:
    """What an outcome lacks, in words."""
    rows = [f"{row} ({there})" if there else row for row, there in outcome.lacking.items()]
    parts = [f"not there: {', '.join(rows)}"] if rows else []
    if outcome.marked:
        parts.append(f"{MARK} {', '.join(outcome.marked)}: the code has changed since (`make replay`)")
    return "; ".join(parts)


def summary(verdicts: Sequence[Verdict]) -> str:
    found = counts(verdicts)
    return f"{len(verdicts)} claims: {', '.join(f'{number} {word}' for word, number in found.items())}."


def markdown(verdicts: Sequence[Verdict]) -> str:
    """results/claims.md: the table, and below it the numbers."""
    lines = [f"# {TITLE}\n\n{table.markdown(brief(verdicts))}\n{summary(verdicts)} {EXPLAINED}\n\n{NUMBERS}\n"]
    for v in verdicts:
        lines.append(f"\n**{verdict_word(v)}** {v.claim.sentence} ({v.claim.source}; {v.experiment})\n\n")
        lines += [f"- {line}\n" for line in details(v)]
    return "".join(lines)


def verdict_word(v: Verdict) -> str:
    return f"{v.word} (undecided)" if v.word == FAIL and v.outcome.undecided else v.word


def details(v: Verdict) -> list[str]:
    """What stands behind a verdict, a line each."""
    if v.word == NOT_RUN:
        lines = [f"{made(v.outcome)}: {missing(v.outcome)}"]
    else:
        lines = [made(v.outcome), *numbers(v.outcome)]
    if v.word == FAIL and v.claim.reason:
        lines.append(f"reason: {v.claim.reason}")
    lines.append(f"takes: {v.takes}")
    if v.word == NOT_RUN and v.beside is not None:
        said = says(v.beside) if v.beside.made else missing(v.beside)
        lines += [f"{made(v.beside)}: {said}", *numbers(v.beside)]
    return lines

"""What became of a claim: PASS, FAIL or NOT RUN.

PASS: the whole interval of every number of the claim is inside its range. FAIL: it is not; 'undecided' is said where an
interval reaches across the end of its range, so that more seeds or a larger test would tell. NOT RUN: a row that the
claim needs is not there with all its planned seeds at the claim's scale, or is marked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from infwidth.reporting.claims.claim import Claim
from infwidth.reporting.claims.estimate import Finding

DECIDES_NUMBERS = False

PASS, FAIL, NOT_RUN = "PASS", "FAIL", "NOT RUN"


@dataclass(frozen=True)
class Outcome:
    """What the rows of one scale say of a claim.

    data: that they were made from; stands_in: whether the paper's were others. lacking: rows or parts that are not
    there, with what there is of them, in words; marked: those whose code has changed. findings: none if anything is
    lacking or marked. seeds: in words. note: what the intervals do not hold.
    """

    scale: str
    data: str = ""
    stands_in: bool = False
    lacking: Mapping[str, str] = field(default_factory=dict)
    marked: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    seeds: str = ""
    note: str = ""

    @property
    def made(self) -> bool:
        """Whether everything is there that the claim needs."""
        return not self.lacking and not self.marked

    @property
    def holds(self) -> bool:
        return self.made and all(finding.holds for finding in self.findings)

    @property
    def undecided(self) -> bool:
        """Whether it fails by intervals alone that reach across the end of their range."""
        failing = [finding for finding in self.findings if not finding.holds]
        return bool(failing) and all(finding.undecided for finding in failing)


@dataclass(frozen=True)
class Verdict:
    """A claim with what its scale says of it, and what a smaller one says, if that can be looked at and was run, or is
    marked.

    takes: in words, what the claim's runs take at its scale.
    """

    experiment: str
    claim: Claim
    outcome: Outcome
    beside: Outcome | None = None
    takes: str = ""

    @property
    def word(self) -> str:
        if not self.outcome.made:
            return NOT_RUN
        return PASS if self.outcome.holds else FAIL


def counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many PASS, FAIL and NOT RUN."""
    words = [verdict.word for verdict in verdicts]
    return {word: words.count(word) for word in (PASS, FAIL, NOT_RUN)}

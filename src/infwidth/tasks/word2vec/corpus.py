"""What Word2Vec learns from and is asked: a text, its vocabulary, and analogy questions where there are any."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from infwidth.errors import ConfigError
from infwidth.tasks.word2vec.config import OFFICIAL_SECTION

FEWEST_OF_A_SIDE = 5
"""Words that each side of a section must have to be shown in place of the official one."""


@dataclass(frozen=True)
class Corpus:
    """tokens (N,) int32: the running words; counts (V,) int64 and words: the vocabulary, in the order of its counts.

    questions (Q, 4) int64: a, b, c, d of each analogy, -1 for a word that the vocabulary lacks; sections (Q,)
    int64: that of each; section_names. Q is 0 for a text without questions. Tokens and counts are on the CPU, the
    rest where training runs.
    """

    tokens: Tensor
    counts: Tensor
    words: Sequence[str]
    questions: Tensor
    sections: Tensor
    section_names: tuple[str, ...]

    def sides(self, section: str) -> tuple[list[int], list[int]]:
        """The words of a section that are only ever a or c, and those that are only ever b or d, ascending."""
        asked = self.questions[self.sections == self.section_names.index(section)]
        first, second = (set(asked[:, columns].flatten().tolist()) - {-1} for columns in ([0, 2], [1, 3]))
        return sorted(first - second), sorted(second - first)

    def shown_section(self, wanted: str | None) -> str | None:
        """The section whose words a picture shows; None for none. ConfigError for a name that no section has.

        Questions of the user's own need not have the official section: the first section that has enough words
        takes its place, if there is one.
        """
        if wanted is None or wanted in self.section_names:
            return wanted
        if wanted == OFFICIAL_SECTION:
            large = (s for s in self.section_names if min(map(len, self.sides(s))) >= FEWEST_OF_A_SIDE)
            return next(large, None)
        if not self.section_names:
            raise ConfigError(f"task.probe_section is {wanted!r}, but the data have no questions; set it to null.")
        near = difflib.get_close_matches(wanted, self.section_names, n=1, cutoff=0.7)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(
            f"task.probe_section is {wanted!r}; choose one of the questions' sections: {', '.join(self.section_names)}"
            f"{meant}; or null for none."
        )


def side_names(section: str) -> tuple[str, str]:
    """What the two sides of a section are called: 'city' and 'state' of city-in-state."""
    one, between, two = section.partition("-in-")
    return (one, two) if between else ("first", "second")

"""Word-analogy questions `a : b :: c : d` in sections, in the format of questions-words.txt."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infwidth.data.archives import Download, checksum, first_file
from infwidth.errors import DataError

OFFICIAL = Download(
    "https://raw.githubusercontent.com/tmikolov/word2vec/master/questions-words.txt", "8b7461cbf7ecc0aec9b32eb626821105"
)


@dataclass(frozen=True)
class Questions:
    """words: a, b, c, d of each question in lower case; section: the index of its section; sections: their names.

    Sections whose name begins with ``gram`` are syntactic, the others semantic.
    """

    words: tuple[tuple[str, str, str, str], ...]
    section: tuple[int, ...]
    sections: tuple[str, ...]

    def arrays(self, vocabulary: list[str]) -> dict[str, np.ndarray]:
        """'questions' (Q, 4) int32 indices, -1 for a word that the vocabulary lacks, and 'sections' (Q,) int32."""
        index = {w: i for i, w in enumerate(vocabulary)}
        ids = [[index.get(w, -1) for w in q] for q in self.words]
        return {"questions": np.array(ids, np.int32).reshape(-1, 4), "sections": np.array(self.section, np.int32)}


NONE = Questions((), (), ())
"""A text without questions."""


def syntactic(section: str) -> bool:
    return section.startswith("gram")


def parse(text: str, where: str) -> Questions:
    """The questions of a text, none if it is empty. Raises DataError with the line of the first one that is wrong."""
    words, section, sections = [], [], []
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.lower().split()
        if not parts:
            continue
        if parts[0] == ":":
            if len(parts) != 2:
                raise DataError(f"{where}, line {number}: a section is ': name', not {line!r}; correct the file.")
            sections.append(parts[1])
        elif len(parts) != 4:
            raise DataError(
                f"{where}, line {number}: a question has four words, this one has {len(parts)} ({line!r}); correct it."
            )
        elif not sections:
            raise DataError(
                f"{where}, line {number}: the first question stands before any section; begin with a line ': name'."
            )
        else:
            words.append(tuple(parts))
            section.append(len(sections) - 1)
    if sections and not words:
        raise DataError(f"{where} has sections but no questions; add some, or give an empty file for none.")
    return Questions(tuple(words), tuple(section), tuple(sections))


def read(path: Path) -> Questions:
    """The questions of a file; DataError if it cannot be read or is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(
            f"the analogy questions {path} cannot be read ({e}); give a file in the format of questions-words.txt."
        ) from e
    return parse(text, str(path))


def require_official(path: Path) -> None:
    """DataError if the file is not the official one."""
    found = checksum(path, OFFICIAL.algorithm)
    if found != OFFICIAL.digest:
        raise DataError(
            f"{path} is not the official file (md5 {found} instead of {OFFICIAL.digest}); for questions of your own "
            "set data.questions=FILE."
        )


def find(folder: Path) -> Path | None:
    """questions-words.txt in a folder or its subfolders ``text`` and ``questions``."""
    return first_file((folder, folder / "text", folder / "questions"), ["questions-words.txt"])

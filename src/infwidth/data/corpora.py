"""What the datasets that are texts share: their keys, their analogy questions, and how they are prepared."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infwidth.config import key
from infwidth.data import questions
from infwidth.data.archives import checksum
from infwidth.data.dataset import Sources
from infwidth.data.text import as_bytes, checked, first, indexed
from infwidth.progress import bar

NO_QUESTIONS = ""
"""A value of data.questions: a text without analogy questions."""


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """The keys that conf/data/text8.yaml, fil9.yaml, simple8.yaml, text8_or_simple8.yaml and text_file.yaml share."""

    min_count: int = key(at_least=1, default=5)
    bytes: int | None = key(at_least=1, default=None)
    questions: str | None = key(default=None, file=True)


def question_file(config: CorpusConfig, sources: Sources) -> Path | None:
    """The file that data.questions names, else the official one, verified; None where the config wants none."""
    if config.questions == NO_QUESTIONS:
        return None
    if config.questions:
        return Path(config.questions)
    path = sources.locate("questions-words.txt", questions.find, lambda raw: questions.OFFICIAL.fetch(raw / "text"))
    questions.require_official(path)
    return path


def prepare(
    config: CorpusConfig, label: str, path: Path, asked: Path | None, stream: Iterable[bytes], size: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of :data:`infwidth.data.kinds.TEXT` and the manifest.

    label: what tables call it. path: the file, for messages and the manifest. asked: the file of the questions.
    stream: the text. size: its bytes where they are known, for the progress bar.
    Raises DataError for a text that is not in text8 format, is empty or leaves no vocabulary, and for wrong questions.
    """
    # What is wrong with the small file is better known before the large one is read.
    found = questions.read(asked) if asked else questions.NONE
    if config.bytes is not None:
        size, label = config.bytes, f"{label} (first {config.bytes / 1e6:g} MB)"
    with bar(total=size, desc=f"preparing {label}", unit="B", unit_scale=True) as done:
        whole = checked(first(stream, config.bytes), str(path))
        tokens, words, counts = indexed(whole, config.min_count, str(path), done.update)
    arrays = {"tokens": tokens, "counts": counts, "words": as_bytes(words), **found.arrays(words)}
    return arrays, {
        "label": label,
        "source": {str(p): {"sha256": checksum(p, "sha256")} for p in (path, asked) if p},
        "words": f"{len(words)} words seen at least {config.min_count} times, {len(tokens)} running words",
        "sections": list(found.sections),
    }

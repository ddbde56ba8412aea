"""A text of the user's own: a file in text8 format, or any text or Wikipedia dump that is converted to it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from infwidth.config import key
from infwidth.data import corpora, questions, text, wikifil
from infwidth.data.dataset import Dataset, Sources
from infwidth.data.kinds import TEXT
from infwidth.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TextFileConfig(corpora.CorpusConfig):
    """conf/data/text_file.yaml"""

    name: Literal["text_file"] = "text_file"
    path: str | None = key(default=None, file=True)
    clean: bool = key(default=False, neutral=False)


def settle(config: TextFileConfig, sources: Sources) -> TextFileConfig:
    """Without questions of its own a text has the official ones if they are at hand, otherwise none, which is said."""
    if not config.path or config.questions is not None or sources.find(questions.find):
        return config
    print(
        f"{config.path} has no analogy questions: no questions-words.txt is in {sources.raw} or the mirror, and "
        "data.questions=FILE is not set; word vectors are trained without them.",
        flush=True,
    )
    return replace(config, questions=corpora.NO_QUESTIONS)


def make(config: TextFileConfig, sources: Sources):
    if not config.path:
        raise ConfigError(
            "data=text_file needs data.path, a text8-format file (a-z and spaces), plain, .zip, .gz or .xz."
        )
    path = Path(config.path)
    stream, label = text.blocks(path), path.name
    if config.clean:
        stream, label = wikifil.converted(stream), f"{label} (cleaned)"
    return corpora.prepare(config, label, path, corpora.question_file(config, sources), stream)


DATASET = Dataset(config=TextFileConfig, kind=TEXT, version=1, make=make, settle=settle)

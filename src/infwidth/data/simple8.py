"""simple8: 100 MB of Simple English Wikipedia in text8 format, from a mirror. It is not text8."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infwidth.data import corpora, text
from infwidth.data.dataset import Dataset, Sources
from infwidth.data.kinds import TEXT
from infwidth.errors import DataError

BYTES = 100_000_000
"""For the progress bar."""


@dataclass(frozen=True, kw_only=True)
class Simple8Config(corpora.CorpusConfig):
    """conf/data/simple8.yaml"""

    name: Literal["simple8"] = "simple8"


def download(raw: Path) -> Path:
    raise DataError("it has no official address; make any text8-format file and use data=text_file data.path=FILE.")


def make(config: Simple8Config, sources: Sources):
    path = sources.locate("simple8", lambda folder: text.find(folder, "simple8"), download)
    return corpora.prepare(config, "simple8", path, corpora.question_file(config, sources), text.blocks(path), BYTES)


DATASET = Dataset(config=Simple8Config, kind=TEXT, version=1, make=make)

"""text8: the first 100 MB of cleaned English Wikipedia. No other text passes for it."""

from dataclasses import dataclass
from typing import Literal

from infwidth.data import corpora, text
from infwidth.data.archives import Download
from infwidth.data.dataset import Dataset, Sources
from infwidth.data.kinds import TEXT

OFFICIAL = Download(
    "http://mattmahoney.net/dc/text8.zip", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232", "sha256"
)
MD5, BYTES = "3bea1919949baf155f99411df5fada7e", 100_000_000


@dataclass(frozen=True, kw_only=True)
class Text8Config(corpora.CorpusConfig):
    """conf/data/text8.yaml"""

    name: Literal["text8"] = "text8"


def make(config: Text8Config, sources: Sources):
    path = sources.locate("text8", lambda folder: text.find(folder, "text8"), lambda raw: OFFICIAL.fetch(raw / "text"))
    text.require(path, MD5, BYTES)
    return corpora.prepare(config, "text8", path, corpora.question_file(config, sources), text.blocks(path), BYTES)


DATASET = Dataset(config=Text8Config, kind=TEXT, version=1, make=make)

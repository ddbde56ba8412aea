"""fil9: all of enwik9, a dump of English Wikipedia, cleaned by the rules of text8, with which it begins."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infwidth.config import key
from infwidth.data import corpora, text, text8, wikifil
from infwidth.data.archives import Download
from infwidth.data.dataset import Dataset, Sources
from infwidth.data.kinds import TEXT

ENWIK9 = Download("http://mattmahoney.net/dc/enwik9.zip", None)
ENWIK9_MD5, ENWIK9_BYTES = "e206c3450ac99950df65bf70ef61a12d", 1_000_000_000
BYTES = 713_069_767
"""For the progress bar; what is verified is that it begins with text8."""


@dataclass(frozen=True, kw_only=True)
class Fil9Config(corpora.CorpusConfig):
    """conf/data/fil9.yaml"""

    name: Literal["fil9"] = "fil9"
    min_count: int = key(at_least=1, default=10)


def find(folder: Path) -> Path | None:
    return text.find(folder, "fil9") or text.find(folder, "enwik9")


def make(config: Fil9Config, sources: Sources):
    path = sources.locate("fil9", find, lambda raw: ENWIK9.fetch(raw / "text"))
    if path.name.startswith("enwik9"):
        text.require(path, ENWIK9_MD5, ENWIK9_BYTES)
        made = wikifil.cleaned(text.blocks(path))
        stream = text.verified(made, text8.MD5, text8.BYTES, f"fil9, made from {path},")
    else:
        text.require(path, text8.MD5, text8.BYTES)
        stream = text.blocks(path)
    return corpora.prepare(config, "fil9", path, corpora.question_file(config, sources), stream, BYTES)


DATASET = Dataset(config=Fil9Config, kind=TEXT, version=1, make=make)

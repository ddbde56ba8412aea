"""text8, except where the folders at hand hold simple8 and not text8. Tables name the one that was taken."""

from dataclasses import asdict, dataclass
from typing import Literal

from infwidth.data import corpora, simple8, text, text8
from infwidth.data.dataset import Dataset, Sources
from infwidth.data.kinds import TEXT


@dataclass(frozen=True, kw_only=True)
class EitherConfig(corpora.CorpusConfig):
    """conf/data/text8_or_simple8.yaml"""

    name: Literal["text8_or_simple8"] = "text8_or_simple8"


def _is_at_hand(name: str, sources: Sources) -> bool:
    prepared = any(sources.prepared.glob(f"{name}-*"))
    return prepared or sources.find(lambda folder: text.find(folder, name)) is not None


def settle(config: EitherConfig, sources: Sources) -> text8.Text8Config | simple8.Simple8Config:
    """The config of the one that is taken: text8 can be downloaded, so it is taken where neither is at hand."""
    only_simple8 = _is_at_hand("simple8", sources) and not _is_at_hand("text8", sources)
    taken = simple8.Simple8Config if only_simple8 else text8.Text8Config
    return taken(**{k: v for k, v in asdict(config).items() if k != "name"})


DATASET = Dataset(config=EitherConfig, kind=TEXT, version=1, make=text8.make, settle=settle)
"""Settled, it is one of the other two, so that it shares what is prepared of them."""

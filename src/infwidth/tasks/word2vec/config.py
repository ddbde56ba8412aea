"""The keys of task=word2vec."""

from dataclasses import dataclass
from typing import Any, Literal

from infwidth.config import key
from infwidth.tasks.description import Asks, TaskConfig

OFFICIAL_SECTION = "city-in-state"
"""The section of the official questions that TP4 draws its PCA of."""


@dataclass(frozen=True, kw_only=True)
class Word2VecConfig(TaskConfig):
    """conf/task/word2vec.yaml"""

    name: Literal["word2vec"] = "word2vec"
    window: int = key(at_least=1, at_most=127, default=8)  # at most what the reach of a word, an int8, can hold
    negatives: int = key(at_least=1, at_most=1000, default=25)
    shared_negatives: int | None = key(at_least=1, at_most=100_000, default=288)
    subsample: float = key(above=0, default=1e-4)
    power: float = key(at_least=0, default=0.75)
    sentence: int = key(at_least=2, default=1000)
    words_per_step: int = key(at_least=1, default=1000)
    most_summed: float | None = key(above=0, default=0.125)
    sigmoid: Literal["exact", "table"] = "exact"
    probe_section: str | None = OFFICIAL_SECTION
    neighbours_of: tuple[str, ...] = key(
        default=("france", "king", "water", "music", "computer", "three"), decides=False
    )
    embeddings: Literal["none", "text", "binary"] = key(default="none", decides=False)
    embedding_rank: int | None = key(at_least=1, default=None, decides=False)

    def asks(self) -> Asks:
        return Asks(bags=True)

    def shortened(self) -> dict[str, Any]:
        """Keys of a run of some hundred steps on the beginning of the text; real texts have a small vocabulary then."""
        return {"data.bytes": 5_000_000, "data.min_count": 30, "trainer.steps": 300, "trainer.schedule.every": 20_000}

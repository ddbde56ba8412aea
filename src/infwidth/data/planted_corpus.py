"""A planted corpus: generated text in which analogies and a city/state separation exist to be found. No download.

There are relations such as capital-of, each with pairs of entities: one for each side. A sentence is about one entity:
the entity's name stands among words of its pair's topic, words of its side's role, and common words. The two entities
of a pair thus share a topic and all entities of a side share a role, which is what makes a : b :: c : d solvable.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from infwidth.config import key
from infwidth.data.dataset import Dataset
from infwidth.data.kinds import TEXT
from infwidth.data.questions import Questions
from infwidth.data.text import as_bytes, first, indexed
from infwidth.errors import ConfigError

RELATIONS = ("capital-of", "city-in-state", "gram1-plural")
"""Sections of the questions; the first two are semantic."""

SIDES = 2

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"

MOST_NAMES = 200_000
"""Distinct words that are asked for at most; 347,900 can be formed, and the last of them would be long in coming."""

SHARES = (0.35, 0.35, 0.3)
"""Of a sentence's words, how many are of the topic, of the role and common."""


@dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """conf/data/planted_corpus.yaml"""

    name: Literal["planted_corpus"] = "planted_corpus"
    running_words: int = key(at_least=1000, default=300_000)
    pairs: int = key(at_least=3, default=30)
    topic_words: int = key(at_least=1, default=6)
    role_words: int = key(at_least=1, default=12)
    common_words: int = key(at_least=1, default=60)
    sentence: int = key(at_least=4, default=9)
    questions: int = key(at_least=1, default=200)
    min_count: int = key(at_least=1, default=1)
    bytes: int | None = key(at_least=1, default=None)
    generator_seed: int = key(at_least=0, default=0)


def prepare(config: PlantedConfig) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of :data:`infwidth.data.kinds.TEXT` and the manifest; the config decides them."""
    rng = np.random.default_rng(config.generator_seed)
    sizes = _sizes(config)
    if sum(sizes) > MOST_NAMES:
        raise ConfigError(
            f"the planted corpus would have {sum(sizes)} different words, at most {MOST_NAMES} can be made; lower "
            "data.pairs, data.topic_words, data.role_words or data.common_words."
        )
    names = _names(rng, sum(sizes))
    chosen = _text(rng, config, sizes).reshape(-1)[: config.running_words]
    written = " ".join(names[i] for i in chosen).encode()
    tokens, vocabulary, counts = indexed(first([written], config.bytes), config.min_count, "the planted corpus")
    asked = _questions(rng, names, config)
    arrays = {"tokens": tokens, "counts": counts, "words": as_bytes(vocabulary), **asked.arrays(vocabulary)}
    return arrays, {
        "label": "planted corpus (generated)",
        "source": "generated",
        "words": f"{len(vocabulary)} words, {len(tokens)} running words",
        "sections": list(asked.sections),
    }


def _sizes(config: PlantedConfig) -> tuple[int, int, int, int]:
    """How many words there are of each sort, in the order of their numbers: entities, topics, roles, common words."""
    relations = len(RELATIONS)
    return (
        relations * config.pairs * SIDES,
        relations * config.pairs * config.topic_words,
        relations * SIDES * config.role_words,
        config.common_words,
    )


def _text(rng: np.random.Generator, config: PlantedConfig, sizes: tuple[int, ...]) -> np.ndarray:
    """(sentences, words of a sentence): the numbers of the words."""
    _, topics_from, roles_from, common_from = np.cumsum((0, *sizes))[:4]
    sentences = -(-config.running_words // config.sentence)
    relation = rng.integers(len(RELATIONS), size=sentences)
    pair = rng.integers(config.pairs, size=sentences)
    side = rng.integers(SIDES, size=sentences)
    topic, role = relation * config.pairs + pair, relation * SIDES + side
    entity = topic * SIDES + side

    shape = (sentences, config.sentence)
    of_topic = topics_from + (topic[:, None] * config.topic_words + rng.integers(config.topic_words, size=shape))
    of_role = roles_from + (role[:, None] * config.role_words + rng.integers(config.role_words, size=shape))
    common = common_from + np.minimum(rng.zipf(1.5, size=shape) - 1, config.common_words - 1)
    text = np.choose(rng.choice(3, p=SHARES, size=shape), (of_topic, of_role, common))
    text[np.arange(sentences), rng.integers(config.sentence, size=sentences)] = entity
    return text


def _names(rng: np.random.Generator, number: int) -> list[str]:
    """Distinct pronounceable words of two or three syllables."""
    found: dict[str, None] = {}  # a set that keeps its order
    while len(found) < number:
        found["".join(_syllable(rng) for _ in range(rng.integers(2, 4)))] = None
    return list(found)


def _syllable(rng: np.random.Generator) -> str:
    return CONSONANTS[rng.integers(len(CONSONANTS))] + VOWELS[rng.integers(len(VOWELS))]


def _questions(rng: np.random.Generator, names: list[str], config: PlantedConfig) -> Questions:
    """For each relation, ``config.questions`` questions of two different pairs."""
    words, section = [], []
    for r in range(len(RELATIONS)):
        for _ in range(config.questions):
            one, two = (SIDES * (r * config.pairs + p) for p in rng.choice(config.pairs, 2, replace=False))
            words.append((names[one], names[one + 1], names[two], names[two + 1]))
            section.append(r)
    return Questions(tuple(words), tuple(section), RELATIONS)


DATASET = Dataset(config=PlantedConfig, kind=TEXT, version=1, make=lambda config, sources: prepare(config))

"""A planted corpus: generated text in which analogies and a city/state separation exist to be found. It needs no download.

There are relations such as capital-of, each with pairs of entities: one for each side. A sentence is about one entity: the
entity's name stands among words of its pair's topic, words of its side's role, and common words. The two entities of a
pair thus share a topic and all entities of a side share a role, which is what makes a : b :: c : d solvable.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from infwidth.config import key
from infwidth.data.questions import Questions
from infwidth.data.text import as_bytes, first, indexed
from infwidth.errors import DataError

RELATIONS = ("capital-of", "city-in-state", "gram1-plural")
"""Sections of the questions; the first two are semantic."""

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """conf/data/planted_corpus.yaml"""

    name: Literal["planted_corpus"]
    running_words: int = key(at_least=1000)
    pairs: int = key(at_least=3)
    topic_words: int = key(at_least=1)
    role_words: int = key(at_least=1)
    common_words: int = key(at_least=1)
    sentence: int = key(at_least=4)
    questions: int = key(at_least=1)
    min_count: int = key(at_least=1)
    bytes: int | None = key(at_least=1)
    generator_seed: int = key(at_least=0)


def prepare(config: PlantedConfig) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays of :func:`infwidth.data.text.prepare` and the manifest; deterministic in the config."""
    rng = np.random.default_rng(config.generator_seed)
    relations, pairs = len(RELATIONS), config.pairs
    sizes = (
        relations * pairs * 2,
        relations * pairs * config.topic_words,
        relations * 2 * config.role_words,
        config.common_words,
    )
    names = _names(rng, sum(sizes))
    starts = np.cumsum((0, *sizes))
    sentences = -(-config.running_words // config.sentence)
    relation, pair, side = (
        rng.integers(relations, size=sentences),
        rng.integers(pairs, size=sentences),
        rng.integers(2, size=sentences),
    )
    shape = (sentences, config.sentence)
    topic = starts[1] + (
        (relation * pairs + pair)[:, None] * config.topic_words + rng.integers(config.topic_words, size=shape)
    )
    role = starts[2] + (
        (relation * 2 + side)[:, None] * config.role_words + rng.integers(config.role_words, size=shape)
    )
    common = starts[3] + np.minimum(rng.zipf(1.5, size=shape) - 1, config.common_words - 1)
    text = np.choose(rng.choice(3, p=(0.35, 0.35, 0.3), size=shape), (topic, role, common))
    entity = (relation * pairs + pair) * 2 + side
    text[np.arange(sentences), rng.integers(config.sentence, size=sentences)] = entity
    written = " ".join(names[i] for i in text.reshape(-1)[: config.running_words]).encode()
    tokens, vocabulary, counts = indexed(first([written], config.bytes), config.min_count)
    if not vocabulary:
        raise DataError(
            f"the planted corpus has no word at least data.min_count={config.min_count} times; lower data.min_count or take more data.bytes."
        )
    asked = _questions(rng, names, config)
    arrays = {"tokens": tokens, "counts": counts, "words": as_bytes(vocabulary)}
    return arrays | asked.arrays(vocabulary), {
        "label": "planted corpus (generated)",
        "source": "generated",
        "words": f"{len(vocabulary)} words, {len(tokens)} running words",
        "sections": asked.sections,
    }


def _names(rng: np.random.Generator, number: int) -> list[str]:
    """Distinct pronounceable words."""
    found: dict[str, None] = {}
    while len(found) < number:
        syllables = rng.integers(2, 4)
        found[
            "".join(CONSONANTS[rng.integers(len(CONSONANTS))] + VOWELS[rng.integers(5)] for _ in range(syllables))
        ] = None
    return list(found)


def _questions(rng: np.random.Generator, names: list[str], config: PlantedConfig) -> Questions:
    """For each relation, ``config.questions`` questions of two different pairs."""
    words, section = [], []
    for r in range(len(RELATIONS)):
        for _ in range(config.questions):
            one, two = (2 * (r * config.pairs + p) for p in rng.choice(config.pairs, 2, replace=False))
            words.append((names[one], names[one + 1], names[two], names[two + 1]))
            section.append(r)
    return Questions(tuple(words), tuple(section), RELATIONS)

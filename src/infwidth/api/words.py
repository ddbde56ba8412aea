"""Word vectors: words, a vector for each, and which words are near."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from infwidth.api.arrays import ArrayLike, matrix
from infwidth.api.card import Card
from infwidth.api.checks import whole
from infwidth.errors import DataError


class WordVectors:
    """words (n,) and their vectors (n, m) in float32; ``vectors["france"]`` is the vector (m,) of a word.

    >>> import infwidth as iw
    >>> words = ["paris", "france", "berlin", "germany"]
    >>> vectors = iw.WordVectors(words, [[1, 0, 1.2], [1, 0, 0], [0, 1, 1.1], [0, 1, 0]])
    >>> vectors.analogy("france", "paris", "germany")[0][0]
    'berlin'
    """

    def __init__(self, words: Sequence[str], vectors: ArrayLike):
        self.words, self.vectors = list(words), matrix(vectors, "vectors").float()
        self.index = {word: i for i, word in enumerate(self.words)}
        if len(self.words) != len(self.vectors) or len(self.index) != len(self.words):
            raise DataError(
                f"there are {len(self.words)} words, {len(self.index)} distinct ones, for {len(self.vectors)} vectors; "
                "give one word for each."
            )
        self.card = Card("WordVectors")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.index

    def __getitem__(self, word: str) -> Tensor:
        if word not in self.index:
            raise DataError(f"the word {word!r} is not known; there are {len(self)}, lower-case as in the text.")
        return self.vectors[self.index[word]]

    def nearest(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors have the largest cosine with a word's, and the cosines."""
        return self._nearest(self._unit(word), [word], count)

    def analogy(self, a: str, b: str, c: str, count: int = 1) -> list[tuple[str, float]]:
        """The words that are to c as b is to a: nearest to b - a + c by cosine, but for these (TP4 section 9)."""
        return self._nearest(self._unit(b) - self._unit(a) + self._unit(c), [a, b, c], count)

    def _unit(self, word: str) -> Tensor:
        return torch.nn.functional.normalize(self[word], dim=0)

    def _nearest(self, direction: Tensor, left_out: Sequence[str], count: int) -> list[tuple[str, float]]:
        whole("count", count)
        cosines = torch.nn.functional.normalize(self.vectors, dim=1) @ torch.nn.functional.normalize(direction, dim=0)
        cosines[[self.index[word] for word in left_out]] = -torch.inf
        found = cosines.topk(min(count, max(len(self) - len(set(left_out)), 0)))
        return [(self.words[i], value) for i, value in zip(found.indices.tolist(), found.values.tolist(), strict=True)]

    @classmethod
    def read(cls, path: str | Path) -> "WordVectors":
        """The vectors of a file in word2vec's binary format, such as a run's embeddings.bin. DataError if not."""
        try:
            return cls(*_parsed(Path(path).read_bytes()))
        except OSError as e:
            raise DataError(f"{path} cannot be read ({e.strerror}); give a file of word vectors.") from e
        except ValueError as e:
            raise DataError(f"{path} is not in word2vec's binary format ({e}); give such a file.") from e


def _parsed(content: bytes) -> tuple[list[str], np.ndarray]:
    """Words and vectors of word2vec's binary format. ValueError if it is another."""
    header, _, rest = content.partition(b"\n")
    count, dimension = (int(number) for number in header.split())
    words, vectors, at = [], np.empty((count, dimension), np.float32), 0
    for i in range(count):
        end = rest.index(b" ", at)
        words.append(rest[at:end].decode().lstrip("\n"))  # some writers end a vector with a line
        at = end + 1 + 4 * dimension
        vectors[i] = np.frombuffer(rest, "<f4", dimension, end + 1)
    return words, vectors

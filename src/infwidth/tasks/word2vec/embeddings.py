"""Word vectors for use elsewhere, in the formats of the original word2vec; a limit's many coordinates projected."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from infwidth.ranks import ALONE, Ranks

BLOCK = 4096
"""Words whose vectors are held at a time."""

Vectors = Callable[[Tensor], Tensor]


def blocks(vectors: Vectors, vocabulary: int, device: torch.device) -> Iterator[Tensor]:
    """The vectors of all words (n, m), in order, block by block."""
    for begin in range(0, vocabulary, BLOCK):
        yield vectors(torch.arange(begin, min(begin + BLOCK, vocabulary), device=device))


@torch.no_grad()
def projected(
    vectors: Vectors,
    vocabulary: int,
    rank: int | None,
    generator: torch.Generator,
    device: torch.device,
    passes: int = 4,
    ranks: Ranks = ALONE,
) -> Tensor:
    """Vectors (vocabulary, rank) float32 whose inner products are nearest to the words' own, by subspace iteration.

    These are the coordinates along the first ``rank`` right singular vectors of the embedding. With rank None, or fewer
    coordinates than that, words keep their own. ranks: each of which has, and gives by ``vectors``, some coordinates.
    """
    first = vectors(torch.zeros(1, dtype=torch.int64, device=device))
    m = ranks.total(first.shape[1])
    if rank is None or m <= rank:
        return torch.cat([ranks.whole(b.float(), m, 1).cpu() for b in blocks(vectors, vocabulary, device)])
    oversampled = min(m, rank + 10)
    basis = torch.randn(m, oversampled, generator=generator, dtype=torch.float32).to(first)
    for _ in range(passes):
        basis = _orthonormal(basis, ranks)
        basis = sum(b.mT @ ranks.add_up(b @ basis) for b in blocks(vectors, vocabulary, device))
        basis = ranks.whole(basis, m)
    basis = _orthonormal(basis, ranks)
    coordinates = torch.cat([ranks.add_up(b @ basis) for b in blocks(vectors, vocabulary, device)])
    turn = torch.linalg.eigh(coordinates.mT.double() @ coordinates.double()).eigenvectors.flip(1)[:, :rank]
    return (coordinates @ turn.to(coordinates)).float().cpu()


def _orthonormal(basis: Tensor, ranks: Ranks) -> Tensor:
    """An orthonormal basis of the span of columns (m, n): those of its rows that are this rank's coordinates."""
    Q = torch.linalg.qr(basis).Q
    return Q if ranks.size == 1 else ranks.spread(Q.contiguous())[ranks.own()]


def memory(vocabulary: int, m: int, rank: int | None, size: int) -> int:
    """Bytes of :func:`projected` for vectors of m numbers of so many bytes, and of a copy that is written."""
    if rank is None or m <= rank:
        return 2 * vocabulary * m * torch.float32.itemsize
    oversampled = min(m, rank + 10)
    return (2 * BLOCK * m + 4 * m * oversampled + 3 * vocabulary * oversampled) * size


def write_text(path: Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """word2vec's text format: a line 'number dimension', then a word and its numbers in each line."""
    with open(path, "w") as f:
        f.write(f"{len(words)} {vectors.shape[1]}\n")
        for word, row in zip(words, vectors.astype(np.float32), strict=True):
            f.write(f"{word} {' '.join(map(repr, row.tolist()))}\n")


def write_binary(path: Path, words: Sequence[str], vectors: np.ndarray) -> None:
    """word2vec's binary format: the same header, then each word, a space and its little-endian float32 numbers."""
    with open(path, "wb") as f:
        f.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, row in zip(words, vectors.astype("<f4"), strict=True):
            f.write(word.encode() + b" " + row.tobytes() + b"\n")

"""Texts for word vectors: files in text8 format, their vocabulary by minimum count, and their words as indices.

text8 format is lower-case a-z and single spaces, digits spelled out. Any such file is taken, plain, .zip, .gz or .xz.
"""

import gzip
import hashlib
import lzma
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from infwidth.data.archives import first_file
from infwidth.errors import DataError

BLOCK = 1 << 22
ALLOWED = b"abcdefghijklmnopqrstuvwxyz \n"
SUFFIXES = ("", ".txt", ".xz", ".gz", ".zip")


def blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a text file, block by block, decompressed by its suffix. DataError if it cannot be read."""
    try:
        with _opened(path) as f:
            while block := f.read(BLOCK):
                yield block
    except FileNotFoundError as e:
        raise DataError(
            f"{path} does not exist; give a text8-format file (a-z and spaces), plain, .zip, .gz or .xz."
        ) from e
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as e:
        raise DataError(f"{path} is not a whole {path.suffix or 'text'} file ({e}); fetch it again.") from e


def _opened(path: Path):
    if path.suffix == ".xz":
        return lzma.open(path)
    if path.suffix == ".gz":
        return gzip.open(path)
    if path.suffix == ".zip":
        archive = zipfile.ZipFile(path)
        members = [m for m in archive.infolist() if not m.is_dir()]
        if len(members) != 1:
            raise DataError(f"{path} holds {len(members)} files; a corpus archive holds one.")
        return archive.open(members[0])
    return open(path, "rb")


def checked(stream: Iterable[bytes], where: str) -> Iterator[bytes]:
    """The stream as it is; DataError at the first byte that text8 format does not have."""
    seen = 0
    for block in stream:
        if strange := block.translate(None, ALLOWED):
            at = seen + block.index(strange[:1])
            raise DataError(
                f"{where} has {_described(strange[:1])} at byte {at}; text8 format is lower-case a-z and spaces only, "
                "and data=text_file with data.clean=true makes it of any text and of a Wikipedia dump."
            )
        seen += len(block)
        yield block


def _described(byte: bytes) -> str:
    if byte.isupper():
        return f"an upper-case letter ({byte!r})"
    return f"a byte of UTF-8 text ({byte!r})" if byte[0] > 127 else f"a character ({byte!r})"


def first(stream: Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    """The first ``limit`` bytes of a stream; all of it for None."""
    left = limit
    for block in stream:
        if left is not None:
            block = block[:left]
            left -= len(block)
        if block:
            yield block
        if left == 0:
            return


def verified(stream: Iterable[bytes], md5: str, size: int, where: str) -> Iterator[bytes]:
    """The stream as it is; DataError at its end if its first ``size`` bytes do not have this md5."""
    digest, left = hashlib.md5(), size
    for block in stream:
        digest.update(block[:left])
        left = max(left - len(block), 0)
        yield block
    if left or digest.hexdigest() != md5:
        found = f"it ends {left} bytes early" if left else f"they have md5 {digest.hexdigest()}"
        raise DataError(
            f"{where} is not what it should be: its first {size} bytes must have md5 {md5}, but {found}; fetch it "
            "again."
        )


def require(path: Path, md5: str, size: int) -> Path:
    """The path, if the first ``size`` bytes of its text have this md5; DataError otherwise."""
    for _ in verified(first(blocks(path), size), md5, size, str(path)):
        pass
    return path


def indexed(
    stream: Iterable[bytes], min_count: int, where: str, progress: Callable[[int], None] = lambda n: None
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """(words of the text as int32 indices, rarer words left out; the vocabulary; its counts int64).

    The vocabulary has the words seen at least ``min_count`` times, the most frequent first, ties in alphabetical order.
    progress(bytes) is called for every block. Raises DataError, with ``where`` for the text, if there is no such word.
    """
    seen, names = _in_order_of_appearance(stream, progress)
    counts = np.bincount(seen, minlength=len(names))
    kept = sorted((i for i in range(len(names)) if counts[i] >= min_count), key=lambda i: (-counts[i], names[i]))
    if not names:
        raise DataError(f"{where} has no words; give another file.")
    if not kept:
        raise DataError(f"{where} has no word at least data.min_count={min_count} times; lower data.min_count.")
    new = np.full(len(names), -1, np.int32)
    new[kept] = np.arange(len(kept), dtype=np.int32)
    tokens = new[seen]
    return tokens[tokens >= 0], [names[i].decode() for i in kept], counts[kept].astype(np.int64)


def _in_order_of_appearance(stream: Iterable[bytes], progress: Callable[[int], None]) -> tuple[np.ndarray, list[bytes]]:
    """(words of the text as int32 numbers, each word's number the order in which it was first seen; the words)."""
    order: dict[bytes, int] = defaultdict()
    order.default_factory = order.__len__  # looking up a new word gives it the next number
    pieces, rest = [], b""
    for block in stream:
        words = (rest + block).split()
        whole = block[-1:].isspace() or not words  # otherwise the last word may go on in the next block
        rest = b"" if whole else words.pop()
        pieces.append(np.fromiter(map(order.__getitem__, words), np.int32, len(words)))
        progress(len(block))
    if rest:
        pieces.append(np.array([order[rest]], np.int32))
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int32), list(order)


def as_bytes(words: list[str]) -> np.ndarray:
    """Words as a (V, longest) uint8 array, padded with zeros."""
    longest = max(map(len, words))
    return np.frombuffer(b"".join(w.encode().ljust(longest, b"\0") for w in words), np.uint8).reshape(
        len(words), longest
    )


def as_words(array: np.ndarray) -> list[str]:
    """The inverse of :func:`as_bytes`."""
    return [bytes(row).rstrip(b"\0").decode() for row in array]


def find(folder: Path, name: str) -> Path | None:
    """A corpus file of that name in a folder or its subfolders ``text`` and ``name``."""
    return first_file((folder, folder / "text", folder / name), (f"{name}{suffix}" for suffix in SUFFIXES))

"""Text corpora for word vectors: text8-format files, their vocabulary by minimum count, and their words as indices.

text8 format is lower-case a-z and single spaces, digits spelled out. Any such file is taken, plain, .zip, .gz or .xz.
"""

import gzip
import hashlib
import lzma
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from infwidth.config import key
from infwidth.data import questions
from infwidth.data.archives import Download, checksum, first_file
from infwidth.errors import DataError
from infwidth.progress import bar

BLOCK = 1 << 22
ALLOWED = b"abcdefghijklmnopqrstuvwxyz \n"
SUFFIXES = ("", ".txt", ".xz", ".gz", ".zip")

TEXT8 = Download(
    "http://mattmahoney.net/dc/text8.zip", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232", "sha256"
)
ENWIK9 = Download("http://mattmahoney.net/dc/enwik9.zip", None)
TEXT8_MD5, TEXT8_BYTES = "3bea1919949baf155f99411df5fada7e", 100_000_000
ENWIK9_MD5, ENWIK9_BYTES = "e206c3450ac99950df65bf70ef61a12d", 1_000_000_000
FIL9_BYTES = 713_069_767
"""For the progress bar; what is checked is that fil9 begins with text8."""


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """conf/data/text8.yaml, fil9.yaml, simple8.yaml, text8_or_simple8.yaml and text_file.yaml"""

    name: Literal["text8", "fil9", "simple8", "text8_or_simple8", "text_file"]
    min_count: int = key(at_least=1)
    bytes: int | None = key(at_least=1, default=None)
    path: str | None = None
    questions: str | None = None


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
            at = block.index(strange[:1])
            what = (
                "an upper-case letter"
                if strange[:1].isupper()
                else "a byte of UTF-8 text"
                if strange[0] > 127
                else "a character"
            )
            raise DataError(
                f"{where} has {what} ({strange[:1]!r}) at byte {seen + at}; text8 format is lower-case a-z and spaces only. "
                "Convert it first: lower case, digits spelled out, everything else a space."
            )
        seen += len(block)
        yield block


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
            f"{where} is not what it should be: its first {size} bytes must have md5 {md5}, but {found}; fetch it again."
        )


def require(path: Path, md5: str, size: int) -> Path:
    """The path, if the first ``size`` bytes of its text have this md5; DataError otherwise."""
    for _ in verified(first(blocks(path), size), md5, size, str(path)):
        pass
    return path


def indexed(
    stream: Iterable[bytes], min_count: int, progress: Callable[[int], None] = lambda n: None
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """(words of the text as int32 indices, rarer words left out; the vocabulary; its counts int64).

    The vocabulary has the words seen at least ``min_count`` times, the most frequent first, ties in alphabetical order.
    progress(bytes) is called for every block.
    """
    order: dict[bytes, int] = defaultdict()
    order.default_factory = order.__len__  # a new word gets the next number
    pieces, rest = [], b""
    for block in stream:
        words = (rest + block).split()
        ends = block[-1:].isspace() or not words
        rest = b"" if ends else words.pop()
        pieces.append(np.fromiter(map(order.__getitem__, words), np.int32, len(words)))
        progress(len(block))
    if rest:
        pieces.append(np.array([order[rest]], np.int32))
    seen = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
    counts = np.bincount(seen, minlength=len(order))
    names = list(order)
    kept = sorted((i for i in range(len(names)) if counts[i] >= min_count), key=lambda i: (-counts[i], names[i]))
    new = np.full(len(names) + 1, -1, np.int32)
    new[kept] = np.arange(len(kept), dtype=np.int32)
    tokens = new[seen]
    return tokens[tokens >= 0], [names[i].decode() for i in kept], counts[kept].astype(np.int64)


def _any_word(stream: Iterable[bytes]) -> bool:
    return any(block.split() for block in stream)


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


def prepare(
    config: CorpusConfig, label: str, path: Path, question_file: Path, stream: Iterable[bytes], size: int | None = None
):
    """Arrays 'tokens' (N,) int32, 'counts' (V,) int64, 'words' (V, longest) uint8, 'questions' (Q, 4) int32, 'sections' (Q,)
    int32, and the manifest. size: bytes of the text if they are known, for the progress bar.

    Raises DataError for a text that is not in text8 format, is empty or leaves no vocabulary, and for wrong questions.
    """
    asked = questions.read(
        question_file
    )  # what is wrong with the small file is better known before the large one is read
    if config.bytes is not None:
        size = config.bytes
    with bar(total=size, desc=f"preparing {config.name}", unit="B", unit_scale=True) as done:
        tokens, words, counts = indexed(checked(first(stream, config.bytes), str(path)), config.min_count, done.update)
    if not words:
        rare = config.min_count > 1 and _any_word(first(blocks(path), config.bytes))
        reason = (
            f"no word at least data.min_count={config.min_count} times; lower data.min_count"
            if rare
            else "no words; give another file"
        )
        raise DataError(f"{path} has {reason}.")
    part = f" (first {config.bytes / 1e6:g} MB)" if config.bytes is not None else ""
    arrays = {"tokens": tokens, "counts": counts, "words": as_bytes(words)}
    return arrays | asked.arrays(words), {
        "label": label + part,
        "source": {str(p): {"sha256": checksum(p, "sha256")} for p in (path, question_file)},
        "words": f"{len(words)} words seen at least {config.min_count} times, {len(tokens)} running words",
        "sections": asked.sections,
    }

"""The kinds of prepared data: what the arrays and the description of each must be, so that a task can rely on them.

A kind raises :class:`Mismatch` with what is wrong; where that is and what to do is said by whoever opened the data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from infwidth.data.text import as_words

DECIDES_NUMBERS = False

Arrays = Mapping[str, np.ndarray]
Description = Mapping[str, Any]


class Mismatch(Exception):
    """What is wrong with arrays or with their description."""


@dataclass(frozen=True)
class Layout:
    """The dtype of an array and its dimensions: a number, or a name that means the same size wherever it occurs."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of data. name: what a task asks for; layouts: the arrays that there must be; check_values: what their
    numbers and the description must be, given arrays of these layouts; may_be_empty: dimensions that may be 0."""

    name: str
    layouts: Mapping[str, Layout]
    check_values: Callable[[Arrays, Description], None]
    may_be_empty: tuple[str, ...] = ()

    def check(self, arrays: Arrays, description: Description) -> None:
        """Raise Mismatch unless arrays and description are data of this kind. There may be more arrays than its own."""
        sizes: dict[str, int] = {}
        for name, layout in self.layouts.items():
            if name not in arrays:
                raise Mismatch(f"the array {name!r} is missing")
            self._check_layout(name, arrays[name], layout, sizes)
        self.check_values(arrays, description)

    def _check_layout(self, name: str, array: np.ndarray, layout: Layout, sizes: dict[str, int]) -> None:
        """Compare one array with its layout. sizes: those of the named dimensions met so far, added to here."""
        if array.dtype != np.dtype(layout.dtype) or array.ndim != len(layout.shape):
            wanted = ", ".join(map(str, layout.shape))
            raise Mismatch(f"{name!r} is {array.dtype} {array.shape} instead of {layout.dtype} ({wanted})")
        for dimension, found in zip(layout.shape, array.shape, strict=True):
            wanted = dimension if isinstance(dimension, int) else sizes.setdefault(dimension, found)
            if found != wanted:
                what = "columns" if isinstance(dimension, int) else dimension
                raise Mismatch(f"{name!r} has {found} {what} instead of {wanted}")
            if found == 0 and dimension not in self.may_be_empty:
                raise Mismatch(f"{name!r} has no {dimension}")


def _names(description: Description, entry: str) -> list[str]:
    """A list of texts in the description."""
    found = description.get(entry)
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        raise Mismatch(f"its {entry} must be a list of names, not {found!r:.60}")
    return found


def _check_range(arrays: Arrays, name: str, lowest: int, end: int) -> None:
    """Whole numbers from ``lowest`` to ``end`` - 1."""
    array = arrays[name]
    if array.size and not lowest <= array.min() <= array.max() < end:
        raise Mismatch(f"{name!r} has numbers from {array.min()} to {array.max()} instead of {lowest} to {end - 1}")


def _check_text(arrays: Arrays, description: Description) -> None:
    counts = arrays["counts"]
    _check_range(arrays, "tokens", 0, len(counts))
    _check_range(arrays, "questions", -1, len(counts))
    _check_range(arrays, "sections", 0, len(_names(description, "sections")))
    if counts.min() < 1 or (counts[1:] > counts[:-1]).any():
        raise Mismatch("'counts' must be positive, the highest first")
    try:
        words = as_words(arrays["words"])
    except UnicodeDecodeError as e:
        raise Mismatch(f"'words' holds a word that is no UTF-8 text ({e})") from e
    if wrong := [word for word in words if word.split() != [word]]:
        raise Mismatch(f"'words' holds {wrong[0]!r}, which is not one word")
    if len(set(words)) < len(words):
        raise Mismatch("'words' holds a word twice")


def _check_images(arrays: Arrays, description: Description) -> None:
    classes = _names(description, "class_names")
    if len(classes) < 2:
        raise Mismatch(f"its class_names are {len(classes)}, but there must be two or more")
    for labels in ("train_y", "test_y"):
        _check_range(arrays, labels, 0, len(classes))


def _check_few_shot_images(arrays: Arrays, description: Description) -> None:
    names, classes = _names(description, "test_class_names"), len(arrays["test"])
    if len(names) != classes:
        raise Mismatch(f"its test_class_names are {len(names)}, but 'test' has {classes} classes")


TEXT = Kind(
    "text",
    {
        "tokens": Layout("int32", ("running words",)),  # the text: each word's place in the vocabulary
        "counts": Layout("int64", ("words",)),  # of the vocabulary, the most frequent word first
        "words": Layout("uint8", ("words", "letters")),  # in UTF-8, padded with zeros
        "questions": Layout("int32", ("questions", 4)),  # a : b :: c : d, -1 for a word that the vocabulary lacks
        "sections": Layout("int32", ("questions",)),  # each question's place in the description's "sections"
    },
    _check_text,
    may_be_empty=("questions",),
)
"""A text as indices into its vocabulary, and analogy questions. The description names their "sections"."""

IMAGES = Kind(
    "images",
    {
        "train_x": Layout("uint8", ("training images", "numbers")),  # channels first
        "train_y": Layout("uint8", ("training images",)),  # each image's place in the description's "class_names"
        "test_x": Layout("uint8", ("test images", "numbers")),
        "test_y": Layout("uint8", ("test images",)),
    },
    _check_images,
)
"""Images of a few classes. The description has their "class_names"."""

FEW_SHOT_IMAGES = Kind(
    "few-shot images",
    {
        "train": Layout("uint8", ("training classes", "training images", "pixels")),
        "validation": Layout("uint8", ("validation classes", "validation images", "pixels")),
        "test": Layout("uint8", ("test classes", "test images", "pixels")),
    },
    _check_few_shot_images,
)
"""Many classes of a few images each, no class in two splits. The description has the "test_class_names"."""

"""What a long computation tells whoever waits for it, so that a model itself neither draws nor prints."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watch:
    """Nobody watches: what is told is lost. :class:`infwidth.progress.Bars` shows it."""

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
        """A stage of ``total`` units of work; it yields a function that is told how many more are done."""
        yield lambda done: None

    def say(self, sentence: str) -> None:
        """What is worth a line."""


NOBODY = Watch()

"""Progress bars with an estimate: lively on a terminal, a line now and then in a log."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from infwidth.models.watch import Watch

DECIDES_NUMBERS = False


def bar(**settings) -> tqdm:
    """A tqdm bar on standard error."""
    return tqdm(mininterval=0.2 if sys.stderr.isatty() else 20, dynamic_ncols=True, **settings)


class Bars(Watch):
    """A bar on standard error for every stage, and what is said on standard output. quiet: no bars."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], object]]:
        with bar(total=total, desc=name, unit=unit, unit_scale=True, disable=self.quiet) as done:
            yield done.update

    def say(self, sentence: str) -> None:
        print(sentence, flush=True)

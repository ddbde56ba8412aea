"""Ctrl-C and SIGTERM, once: the run ends after the present step, with its state saved."""

import signal
import sys
import threading

from tqdm import tqdm

DECIDES_NUMBERS = False


class Interrupted(Exception):
    """The run was asked to stop; its message says what is kept."""


class Stop:
    """A context in which the first SIGINT or SIGTERM sets ``asked``, and the second raises KeyboardInterrupt."""

    def __init__(self):
        self.asked = False
        self._before = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # others cannot listen
            self._before = {n: signal.signal(n, self._listen) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _listen(self, number, frame) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        tqdm.write("Stopping after this step; press Ctrl-C again to stop at once.", file=sys.stderr)

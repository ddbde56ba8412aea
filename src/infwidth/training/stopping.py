"""Ctrl-C and SIGTERM, once: the run ends after the present step, with its state saved."""

import signal
import sys
import threading
import time

from tqdm import tqdm

DECIDES_NUMBERS = False


REPEATED = 3.0
"""Seconds within which a process that is one of several gets the same signal again: from the terminal, and from
torchrun, which passes on what it gets itself."""


class Interrupted(Exception):
    """The run was asked to stop; its message says what is kept."""


class Stop:
    """A context in which the first SIGINT or SIGTERM sets ``asked``, and the second raises KeyboardInterrupt.

    repeated: whether somebody may pass on a signal that this process has got by itself.
    """

    def __init__(self, repeated: bool = False):
        self.asked = False
        self._before = {}
        self._patience, self._first = REPEATED if repeated else 0.0, 0.0

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # others cannot listen
            self._before = {n: signal.signal(n, self._listen) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _listen(self, number, frame) -> None:
        if self.asked:
            if time.monotonic() - self._first < self._patience:
                return
            raise KeyboardInterrupt
        self.asked, self._first = True, time.monotonic()
        tqdm.write("Stopping after this step; press Ctrl-C again to stop at once.", file=sys.stderr)

"""Ranks that are threads of one process: what is split, and what passes between its parts, without starting any."""

import threading
from concurrent.futures import ThreadPoolExecutor

from infwidth.ranks import Ranks


class Thread(Ranks):
    def __init__(self, rank, size, barrier, places):
        super().__init__(rank, size)
        self.barrier, self.places = barrier, places

    def _objects(self, value):
        self.places[self.rank] = value
        self.barrier.wait()
        found = list(self.places)
        self.barrier.wait()
        return found

    def _add_up(self, t):
        t.copy_(sum(self._objects(t.clone())))

    def _gather(self, parts, t):
        for part, other in zip(parts, self._objects(t.clone()), strict=True):
            part.copy_(other)

    def _spread(self, t):
        t.copy_(self._objects(t.clone())[0])


def together(size, work):
    """What work(ranks) returns in each of so many threads, in order; an error in one is raised here."""
    barrier, places = threading.Barrier(size, timeout=60), [None] * size

    def of(rank):
        try:
            return work(Thread(rank, size, barrier, places))
        except threading.BrokenBarrierError:
            return None  # for the error of another
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        return [done.result() for done in [pool.submit(of, rank) for rank in range(size)]]

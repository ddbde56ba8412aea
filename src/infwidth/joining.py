"""How the processes that torchrun has started become the ranks of one run, and which of them says why it ends.

torchrun tells each process by its environment which one it is and where a store lies that all of them can reach. There
each leaves a note that it is here, so that a missing one is known by its number; then torch.distributed connects them.
"""

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from datetime import timedelta

from infwidth.errors import ConfigError, RankError
from infwidth.ranks import ALONE, Ranks

DECIDES_NUMBERS = False

ANSWER = timedelta(hours=2)
"""How long a rank waits for another, which may be solving a large system for all or preparing the data; one whose
process has ended is known at once."""

_stores: list = []
"""The store of the ranks that this process has joined: one at most."""


def world_size(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes torchrun has started; 1 without it. ConfigError where its variables are no numbers."""
    return _number(environment, "WORLD_SIZE", 1) if "RANK" in environment else 1


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environment.get(name, default))
    except ValueError:
        raise ConfigError(
            f"the environment variable {name} is {environment[name]!r}, not a number; torchrun sets it, or unset it."
        ) from None


@contextlib.contextmanager
def joined(patience: float, environment: Mapping[str, str] = os.environ) -> Iterator[Ranks]:
    """The ranks of this run, for as long as it lasts; this process alone without torchrun.

    patience: seconds to wait for all of them. What others than the first print is lost. RankError that names those that
    do not come.
    """
    size = world_size(environment)
    if size == 1:
        yield ALONE
        return
    import torch
    from torch import distributed as dist

    rank = _number(environment, "RANK", 0)
    ranks = Ranks(rank, size, _number(environment, "LOCAL_RANK", rank), _number(environment, "LOCAL_WORLD_SIZE", size))
    store = _store(ranks, timedelta(seconds=patience), environment)
    _stores[:] = [store]
    _wait_for_all(store, ranks, timedelta(seconds=patience))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=ANSWER)
    _end_when_told(ranks)
    try:
        with _quiet(not ranks.first):
            yield ranks
    finally:
        dist.destroy_process_group()


def _store(ranks: Ranks, patience: timedelta, environment: Mapping[str, str]):
    """The store that all ranks reach: torchrun's own, or, without one, the first rank's."""
    from torch.distributed import PrefixStore, TCPStore

    host, port = environment.get("MASTER_ADDR", "127.0.0.1"), _number(environment, "MASTER_PORT", 29500)
    kept = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    try:
        store = TCPStore(
            host, port, ranks.size, is_master=ranks.first and not kept, timeout=patience, wait_for_workers=False
        )
    except RuntimeError as e:
        raise RankError(
            f"nobody answers at {host}:{port} (MASTER_ADDR, MASTER_PORT), where rank 0 or its torchrun should be; "
            "start it, or raise trainer.wait_for_ranks."
        ) from e
    # Of processes that torchrun started before, notes may be left.
    return PrefixStore(f"infwidth/{environment.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _wait_for_all(store, ranks: Ranks, patience: timedelta) -> None:
    notes = [f"here/{rank}" for rank in range(ranks.size)]
    store.set(notes[ranks.rank], "")
    try:
        store.wait(notes, patience)
    except RuntimeError as e:
        try:
            missing = [str(rank) for rank, note in enumerate(notes) if not store.check([note])]
        except RuntimeError:
            raise RankError("rank 0, or its torchrun, has ended before all ranks had come; start them again.") from e
        raise RankError(
            f"of {ranks.size} ranks, rank{'s' * (len(missing) > 1)} {', '.join(missing)} did not come within "
            f"{patience.total_seconds():g} s; start torchrun with the same --nnodes and --nproc-per-node on every "
            "machine, or raise trainer.wait_for_ranks."
        ) from e


def _end_when_told(ranks: Ranks) -> None:
    """SIGTERM, by which torchrun ends the other ranks when one has ended, is Ctrl-C, except to those that have seen it
    themselves: they have to say so yet."""

    def listen(number, frame):
        if not ranks.lost:
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, listen)


@contextlib.contextmanager
def _quiet(whether: bool) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if whether:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield


def speaks(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is to say why its run ends: the first of the ranks to ask; where they have not met, one on
    every machine."""
    if not _stores:
        return environment.get("LOCAL_RANK", "0") == "0"
    try:
        return _stores[0].add("spoken", 1) == 1
    except RuntimeError:  # who keeps the store is gone
        return True

"""Two ranks of one thread beside one rank of one thread, on the same model: seconds and memory of a training step.

    python benchmarks/ranks.py [--rows 50000] [--vocabulary 8000] [--rounds 5] [--json FILE]

The pi-limit (r 400, depth 2, 10 classes, batch 32) has so many rows in every growing layer; the mu-limit of Word2Vec so
many words, of a text that is drawn by Zipf's law, and its minibatches are prepared by every rank. One rank and two take
turns, round by round, each in processes of its own; a round's time is the median over its steps. Memory is the largest
of the steps, less what a process has before it makes the model. CPU time, of the rank's own threads, says what would be
possible where something else keeps the cores busy.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
from common import carried_out, heading, options, output_of, positive, written
from pi_limit import INPUTS, OUTPUTS, limit_of
from pi_limit import step as step_of_pi_limit

from infwidth.joining import joined
from infwidth.models import linear
from infwidth.models.pi.cost import exchanged
from infwidth.ranks import Exchange
from infwidth.seeding import stream
from infwidth.tasks.word2vec.config import Word2VecConfig
from infwidth.tasks.word2vec.corpus import Corpus
from infwidth.tasks.word2vec.task import Word2Vec
from infwidth.training import provenance

BATCH, STEPS, WARM = 32, 30, 5
TARGETS = {"pi_limit": 1.7, "mu_limit": 1.6}
"""How many times as fast two ranks are to be."""

OF_MEMORY = 0.55
"""The share of one rank's memory that each of two is to have at most."""


def pi_limit(rows, ranks):
    """A step of it, and what it exchanges."""
    x, y = torch.randn(BATCH, INPUTS, generator=stream("x")), torch.arange(BATCH) % OUTPUTS
    net = limit_of(rows, "float32", ranks)
    rank = net.A1.shape[1]
    return lambda: step_of_pi_limit(net, x, y), exchanged(BATCH, rank, [rank, OUTPUTS])


def mu_limit(vocabulary, ranks):
    """A step of it, its minibatch included; what it exchanges depends on that."""
    counts = (1e6 / torch.arange(1, vocabulary + 1)).long() + 1
    tokens = torch.multinomial(counts.double(), 1_000_000, replacement=True, generator=stream("text")).int()
    none = torch.zeros(0, dtype=torch.int64)
    corpus = Corpus(tokens, counts, [str(i) for i in range(vocabulary)], none.reshape(0, 4), none, ())
    task = Word2Vec(Word2VecConfig(probe_section=None), corpus, 0, torch.device("cpu"))
    net = linear.mu_limit(vocabulary, vocabulary, 1.0, 0.0, 0.0, bags=True, ranks=ranks)
    batches = itertools.chain.from_iterable(task.batches(epoch) for epoch in itertools.count())
    return lambda: step_of_mu_limit(net, task, next(batches)), None


def step_of_mu_limit(net, task, batch):
    update, _ = task.step(net, batch)
    net.apply_update(update, 0.05, 0.001)


def case(name, size, ranks):
    """Of this rank: the median of its steps in seconds, its memory, and the mean of what a step exchanges."""
    torch.set_num_threads(1)
    make, device = {"pi_limit": pi_limit, "mu_limit": mu_limit}[name], torch.device("cpu")
    step, _ = make(500, ranks)
    step()  # what the libraries take for themselves is there before
    del step
    provenance.reset_peak_memory(device)
    before = provenance.peak_memory_bytes(device)
    step, predicted = make(size, ranks)
    for _ in range(WARM):
        step()
    provenance.reset_peak_memory(device)
    seconds, cpu, passed = [], [], ranks.exchanged
    for _ in range(STEPS):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        step()
        seconds.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - cpu_begin)
    passed = ranks.exchanged - passed
    if ranks.size > 1 and predicted is not None:
        assert passed == Exchange(STEPS * predicted.calls, STEPS * predicted.numbers), (passed, predicted)
    return {
        "step_seconds": statistics.median(seconds),
        "step_cpu_seconds": statistics.median(cpu),
        "memory_bytes": provenance.peak_memory_bytes(device) - before,
        "calls": passed.calls / STEPS,
        "numbers": passed.numbers / STEPS,
    }


def of_ranks(number, name, size):
    """What each of so many ranks says."""
    start = [sys.executable]
    if number > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}"]
    said = output_of(
        [*start, str(Path(__file__)), "--case", name, str(size)],
        f"{name} over {number} ranks",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(said.splitlines()[-1])


def compared(name, size, rounds):
    """Medians over rounds of one rank and of two."""
    found = {1: [], 2: []}
    for _, number in itertools.product(range(rounds), found):
        found[number].append(of_ranks(number, name, size))
    of = lambda key, n: [max(r[key] for r in some) for some in found[n]]  # of the rank that takes most, by rounds
    seconds = {n: of("step_seconds", n) for n in found}
    memory = {n: statistics.median(of("memory_bytes", n)) for n in found}
    return {
        "model": name,
        "size": size,
        "step_seconds": {n: statistics.median(seconds[n]) for n in found},
        "step_cpu_seconds": {n: statistics.median(of("step_cpu_seconds", n)) for n in found},
        "times_as_fast": statistics.median(one / two for one, two in zip(seconds[1], seconds[2], strict=True)),
        "memory_bytes": memory,
        "share_of_memory": memory[2] / memory[1],
        "calls": found[2][0][0]["calls"],
        "numbers": found[2][0][0]["numbers"],
    }


def shown(f):
    target = TARGETS[f["model"]]
    what = {"pi_limit": f"pi-limit, M {f['size']}, batch {BATCH}", "mu_limit": f"mu-limit, {f['size']} words"}
    one, two = (1e3 * f["step_seconds"][n] for n in (1, 2))
    cpu_one, cpu_two = (1e3 * f["step_cpu_seconds"][n] for n in (1, 2))
    print(
        f"{what[f['model']]}: a step {one:.1f} ms with one rank and {two:.1f} ms with two, {f['times_as_fast']:.2f} "
        f"times as fast (target {target}; {cpu_one:.1f} and {cpu_two:.1f} ms of a rank's CPU); memory of a rank "
        f"{f['memory_bytes'][2] / 1e6:.0f} of {f['memory_bytes'][1] / 1e6:.0f} MB, {f['share_of_memory']:.2f} (target "
        f"{OF_MEMORY}); {f['numbers']:.0f} numbers in {f['calls']:.0f} calls a step",
        flush=True,
    )


def main():
    parser = options(__doc__, rounds=5)
    parser.add_argument("--rows", type=positive, default=50_000, help="of every growing layer of the pi-limit")
    parser.add_argument("--vocabulary", type=positive, default=8_000, help="words of the mu-limit")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        name, size = arguments.case
        with joined(60) as ranks:
            said = ranks.gathered(case(name, int(size), ranks))
            print(json.dumps(said), flush=True)
        return
    found = heading(arguments.rounds)
    found["cases"] = []
    for name, size in (("pi_limit", arguments.rows), ("mu_limit", arguments.vocabulary)):
        found["cases"].append(compared(name, size, arguments.rounds))
        shown(found["cases"][-1])
    written(found, arguments.json)


if __name__ == "__main__":
    carried_out(main)

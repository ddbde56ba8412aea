"""Word2Vec: training examples per CPU-second, and the cost of a minibatch beside its bare products.

gensim is measured in the same run.

    python benchmarks/word2vec.py [--rounds 5] [--json FILE]    (needs simple8 and the questions: DATA_MIRROR=folder)

Implementations take turns, round by round, so that a change of the machine's speed meets all of them;
medians over rounds are reported.
gensim does not divide a position's gradient by its number of context words: it is a peer in speed only.
"""

import dataclasses
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import heading, options, written

from infwidth.data.catalog import obtain
from infwidth.models import linear
from infwidth.models.bags import Bags
from infwidth.parametrization import named
from infwidth.seeding import stream
from infwidth.tasks import description, word2vec
from infwidth.tasks.word2vec.analogies import accuracies, answers

RATE, DECAY = 0.05, 0.001
TASK = {
    "name": "word2vec",
    "window": 8,
    "negatives": 25,
    "shared_negatives": 288,
    "subsample": 1e-4,
    "power": 0.75,
    "sentence": 1000,
    "words_per_step": 1000,
    "most_summed": 0.125,
    "probe_section": "city-in-state",
}
SMALL = {"words_per_step": 400, "shared_negatives": 128}
"""For the small vocabulary, where the mu-limit's minibatches then fit the caches."""

STEPS = 60
"""Minibatches a round."""


def task_on(min_count, size=None, **keys):
    corpus = {
        "name": "simple8",
        "min_count": min_count,
        "bytes": size,
        "root": "data",
        "mirror": os.environ.get("DATA_MIRROR"),
    }
    config = description.config_of({**TASK, **keys})
    return word2vec.TASK.build(config, obtain(corpus), 0, torch.device("cpu"), torch.float32)


def network(width, words):
    if width is None:
        return linear.mu_limit(words, words, 1.0, 0.0, 0.0, bags=True)
    return linear.finite(
        width, words, words, 1.0, 0.0, 0.0, named("mup", 1), stream("benchmark"), torch.float32, "uniform", bags=True
    )


def whole_step(task, net, batches):
    """Everything that training does for a minibatch: draw, assemble, gather, products, loss, update."""

    def step():
        batch = next(batches)
        update, _ = task.step(net, batch)
        net.apply_update(update, RATE, DECAY)
        return len(batch.present)

    return step


@torch.no_grad()
def bare_step(net, batches):
    """The same minibatch's row gathers, matrix products and row scatters alone.

    The sparse products with the means are included.
    """
    columns, V = net.U.detach().mT, net.V.detach()

    def step():
        batch = next(batches)
        words, means, asked = batch.context.words, batch.context.means, batch.asked
        U_s, V_s = columns.index_select(0, words), V.index_select(0, asked.rows)
        shared, own = V_s[: asked.shared], V_s.index_select(0, asked.own)
        h = means @ U_s
        f = h @ shared.mT
        e = f @ shared
        dU, dV = means.transposed_times(e), f.mT @ h
        columns.index_copy_(0, words, U_s)
        V.index_copy_(0, asked.rows, V_s)
        return len(batch.present) + 0 * len(dU) + 0 * len(dV) + 0 * len(own)

    return step


def endless(task):
    epoch = 0
    while True:
        yield from task.batches(epoch)
        epoch += 1


def timed(step):
    """(positions, wall seconds, CPU seconds) of STEPS minibatches."""
    wall, cpu = time.perf_counter(), time.process_time()
    positions = sum(step() for _ in range(STEPS))
    return positions, time.perf_counter() - wall, time.process_time() - cpu


def minibatches(task, widths, rounds):
    """Medians over rounds for every width, None being the mu-limit.

    Examples per CPU-second, and the step beside its bare products.
    """
    found = {}
    prepared = [b for b, _ in zip(endless(task), range(STEPS), strict=False)]
    for width in widths:
        net, other = network(width, task.inputs), network(width, task.inputs)
        ours, bare = whole_step(task, net, endless(task)), bare_step(other, iter(prepared * (rounds + 1)))
        timed(ours), timed(bare)
        figures = [(timed(ours), timed(bare)) for _ in range(rounds)]
        found["inf" if width is None else width] = {
            "examples_per_cpu_second": statistics.median(p / cpu for (p, _, cpu), _ in figures),
            "milliseconds": statistics.median(1e3 * wall / STEPS for (_, wall, _), _ in figures),
            "bare_milliseconds": statistics.median(1e3 * wall / STEPS for _, (_, wall, _) in figures),
            "ratio": statistics.median(o[1] / o[0] / (b[1] / b[0]) for o, b in figures),
            "examples": figures[0][0][0] / STEPS,
        }
    return found


def beside_gensim(task, width, words, rounds):
    """Running words a second at a finite width on the full vocabulary.

    Ours, and gensim with two workers on the same words.
    """
    from gensim.models import Word2Vec

    names, tokens = task.corpus.words, task.corpus.tokens[:words].tolist()
    sentences = [[names[t] for t in tokens[i : i + 1000]] for i in range(0, words, 1000)]
    counts = dict(zip(names, task.corpus.counts.tolist(), strict=True))
    net = network(width, task.inputs)
    # The counts stay the whole text's, so both have the same vocabulary, subsampling and negatives.
    task.corpus = dataclasses.replace(task.corpus, tokens=task.corpus.tokens[:words])
    found = {"ours": [], "gensim": []}
    for r in range(rounds):
        begin = time.perf_counter()
        for batch in task.batches(r):
            update, _ = task.step(net, batch)
            net.apply_update(update, RATE, DECAY)
        found["ours"].append(words / (time.perf_counter() - begin))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sentences"
            path.write_text("\n".join(map(" ".join, sentences)) + "\n")
            peer = Word2Vec(
                vector_size=width,
                window=8,
                sg=0,
                cbow_mean=1,
                negative=25,
                sample=1e-4,
                alpha=RATE,
                workers=2,
                min_count=1,
                seed=r,
            )
            peer.build_vocab_from_freq(counts)
            begin = time.perf_counter()
            peer.train(corpus_file=str(path), total_words=words, total_examples=len(sentences), epochs=1)
            found["gensim"].append(words / (time.perf_counter() - begin))
    return {k: statistics.median(v) for k, v in found.items()}, net


def analogies(task, net):
    """Seconds for all questions, and correct answers by section: ours and gensim's on the same vectors."""
    from gensim.models import KeyedVectors

    questions = task.corpus.questions[task.covered]
    begin = time.perf_counter()
    correct = answers(lambda words: net.features(Bags.single(words)), task.inputs, questions) == questions[:, 3]
    ours = time.perf_counter() - begin
    vectors = KeyedVectors(net.U.shape[0])
    vectors.add_vectors(list(task.corpus.words), net.features(Bags.single(torch.arange(task.inputs))).numpy())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        for s, name in enumerate(task.corpus.section_names):
            f.write(f": {name}\n")
            for row in questions[task.corpus.sections[task.covered] == s].tolist():
                f.write(" ".join(task.corpus.words[w] for w in row) + "\n")
        f.flush()
        begin = time.perf_counter()
        _, sections = vectors.evaluate_word_analogies(f.name, restrict_vocab=len(vectors), case_insensitive=False)
        theirs = time.perf_counter() - begin
    by_section = {s["section"]: len(s["correct"]) for s in sections}
    own = {
        n: int(correct[task.corpus.sections[task.covered] == i].sum()) for i, n in enumerate(task.corpus.section_names)
    }
    accuracy = accuracies(correct, task.corpus.sections[task.covered], task.corpus.section_names)["accuracy"]
    return {
        "questions": len(questions),
        "ours_seconds": ours,
        "gensim_seconds": theirs,
        "accuracy": accuracy,
        "ours_correct": sum(own.values()),
        "gensim_correct": by_section["Total accuracy"],
        "same_in_every_section": all(own[n] == by_section[n] for n in own),
    }


def main():
    parser = options(__doc__, rounds=5)
    parser.add_argument("--words", type=int, default=1_000_000, help="running words of a round beside gensim")
    arguments = parser.parse_args()
    found = heading(arguments.rounds)
    small = task_on(40, 10_000_000, **SMALL)
    print(
        f"minibatches on the first 10 MB of simple8, {small.inputs} words of vocabulary, "
        f"{SMALL['words_per_step']} running words and "
        f"{SMALL['shared_negatives']} shared negatives a minibatch, float32"
    )
    found["minibatches"] = minibatches(small, [64, 256, 1024, None], arguments.rounds)
    for width, f in found["minibatches"].items():
        print(
            f"  width {width:>4}: {f['examples_per_cpu_second']:7.0f} examples per CPU-second; "
            f"a minibatch of {f['examples']:.0f} {f['milliseconds']:.2f} ms, "
            f"its products, gathers and scatters alone {f['bare_milliseconds']:.2f} ms: {f['ratio']:.2f} times"
        )
    full = task_on(5)
    found["words_per_second"], net = beside_gensim(full, 256, arguments.words, arguments.rounds)
    rates = found["words_per_second"]
    print(
        f"\nwidth 256, {full.inputs} words of vocabulary, "
        f"{TASK['words_per_step']} running words and {TASK['shared_negatives']} shared negatives a minibatch: "
        f"{rates['ours']:.0f} running words a second, gensim with 2 workers {rates['gensim']:.0f}: "
        f"{rates['ours'] / rates['gensim']:.2f} times"
    )
    found["analogies"] = a = analogies(full, net)
    print(
        f"\n{a['questions']} analogies over {full.inputs} words, width 256: {a['ours_seconds']:.2f} s, "
        f"gensim {a['gensim_seconds']:.1f} s: "
        f"{a['gensim_seconds'] / a['ours_seconds']:.0f} times; correct {a['ours_correct']} and {a['gensim_correct']}, "
        f"{'the same' if a['same_in_every_section'] else 'not the same'} in every section"
    )
    written(found, arguments.json)


if __name__ == "__main__":
    main()

"""Word2Vec as a task: minibatches of a text in its order, and what its word vectors are worth (TP4 section 9)."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from infwidth.config import key
from infwidth.errors import ConfigError, DataError
from infwidth.models.bags import Bags
from infwidth.models.contract import Model
from infwidth.models.cost import Sizes
from infwidth.models.updates import Update
from infwidth.seeding import stream
from infwidth.tasks.contract import Evaluation, Evidence, Probe, Task
from infwidth.tasks.description import Asks
from infwidth.tasks.word2vec import cbow, embeddings
from infwidth.tasks.word2vec.analogies import accuracies, answers, nearest
from infwidth.tasks.word2vec.minibatches import assembled
from infwidth.tasks.word2vec.outputs import Draws
from infwidth.tasks.word2vec.sampling import Kept, Negatives, keep_probability, kept
from infwidth.tasks.word2vec.windows import Windows

EVALUATION_STEPS = 40
"""Minibatches on which the reported loss is taken: the same words, contexts and negatives in every run on a corpus."""

STEPS_TOGETHER, WORDS_TOGETHER = 64, 1 << 17
"""Minibatches whose words are sorted together, and the running words that they cover at most."""

LOSS_SHARE = 8
"""The training loss is reported of an eighth of the positions: it is looked at, and decides nothing."""

NEIGHBOURS = 8


@dataclass(frozen=True, kw_only=True)
class Word2VecConfig:
    """conf/task/word2vec.yaml"""

    name: Literal["word2vec"] = "word2vec"
    window: int = key(at_least=1, default=8)
    negatives: int = key(at_least=1, default=25)
    shared_negatives: int | None = key(at_least=1, default=288)
    subsample: float = key(above=0, default=1e-4)
    power: float = key(at_least=0, default=0.75)
    sentence: int = key(at_least=2, default=1000)
    words_per_step: int = key(at_least=1, default=1000)
    most_summed: float | None = key(above=0, default=0.125)
    sigmoid: Literal["exact", "table"] = "exact"
    probe_section: str = "city-in-state"
    neighbours_of: tuple[str, ...] = key(
        default=("france", "king", "water", "music", "computer", "three"), decides=False
    )
    embeddings: Literal["none", "text", "binary"] = key(default="none", decides=False)
    embedding_rank: int | None = key(at_least=1, default=None, decides=False)

    def asks(self) -> Asks:
        return Asks(bags=True)

    def shortened(self) -> dict[str, Any]:
        """Keys of a run of some hundred steps on the beginning of the text; real texts have a small vocabulary then."""
        return {"data.bytes": 5_000_000, "data.min_count": 30, "trainer.steps": 300, "trainer.schedule.every": 20_000}

    def idle(self) -> tuple[str, ...]:
        """Keys without effect at these values of the others."""
        return ()


@dataclass(frozen=True)
class Corpus:
    """tokens (N,) int32 running words; counts (V,) int64; words: the vocabulary; questions (Q, 4) int64, -1 for unknown words;
    sections (Q,) int64 and their names. Tokens and counts on the CPU, the rest where training runs."""

    tokens: Tensor
    counts: Tensor
    words: Sequence[str]
    questions: Tensor
    sections: Tensor
    section_names: tuple[str, ...]


class Word2Vec(Task):
    """CBOW with negative sampling on a corpus; the validation and the test are the same analogy questions, so nothing is selected on them."""

    selects = False

    def __init__(
        self,
        config: Word2VecConfig,
        corpus: Corpus,
        seed: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ):
        self.config, self.corpus, self.seed, self.device, self.dtype = config, corpus, seed, device, dtype
        self.inputs = self.outputs = len(corpus.words)
        self.bags = True
        self.steps_per_epoch = -(-len(corpus.tokens) // config.words_per_step)
        self.units = {"word": config.words_per_step}
        self.files = {"none": (), "text": ("embeddings.txt",), "binary": ("embeddings.bin",)}[config.embeddings]
        self.keep = keep_probability(corpus.counts, config.subsample)
        self.sampler = Negatives(corpus.counts, config.power)
        self.covered = (corpus.questions >= 0).all(1)
        if config.probe_section not in corpus.section_names:
            raise ConfigError(
                f"task.probe_section is {config.probe_section!r}; the questions have: {', '.join(corpus.section_names)}."
            )
        if not self.covered.any():
            raise DataError(
                "no analogy question has all its words in the vocabulary; lower data.min_count or take more of the text."
            )

    @property
    def positions(self) -> float:
        """Expected positions of a minibatch: those of its running words that subsampling keeps."""
        counts = self.corpus.counts.double()
        return self.config.words_per_step * (counts * self.keep).sum().item() / counts.sum().item()

    def check(self, learning_rate: float) -> None:
        """Refuse minibatches larger than those that were seen to follow sequential SGD.

        One shared negative adds up the gradients of all B positions, negatives/shared_negatives each. Both layers move by
        steps that grow with the rate, so what this overshoots by grows with the rate's square. Training followed sequential SGD as
        long as rate^2 * B * negatives/shared_negatives <= 0.125: at 0.2 one seed in six loses its way for some thousand
        minibatches, at 0.25 every second one does. And, however negatives are drawn, as long as rate^2 * B <= 2: at 2.5 two seeds in
        six lost theirs.
        """
        config = self.config
        summed = max(self.positions * config.negatives / (config.shared_negatives or torch.inf), self.positions / 16)
        overshoot = learning_rate * learning_rate * summed  # not a power, which raises an error where this is infinite
        if config.most_summed is not None and overshoot > config.most_summed:
            raise ConfigError(
                f"minibatches of task.words_per_step={config.words_per_step} ({self.positions:.0f} positions) with task.shared_negatives={config.shared_negatives} "
                f"are too large for trainer.learning_rate={learning_rate:g}: {learning_rate:g}^2 times {summed:.0f} summed gradients is {overshoot:.2f}, "
                f"beyond task.most_summed={config.most_summed:g}, up to which training was seen to follow sequential SGD. Raise task.shared_negatives, lower "
                "task.words_per_step or the rate, or set task.most_summed=null to go on regardless."
            )

    def batches(self, epoch: int, start: int = 0) -> Iterator[cbow.Minibatch]:
        names = (self.seed, "train", epoch)
        text = kept(self.corpus.tokens, self.keep, self.config.window, self.config.words_per_step, *names)
        return self._minibatches(text, start, names)

    def _minibatches(self, text: Kept, start: int, names: tuple[int | str, ...]) -> Iterator[cbow.Minibatch]:
        """Minibatches from step ``start`` on; the negatives of a block of steps come from one random stream."""
        config, steps = self.config, len(text.bounds) - 1
        windows = Windows(text.words.to(self.device), text.reach.to(self.device), config.window, config.sentence)
        together = max(1, min(STEPS_TOGETHER, WORDS_TOGETHER // config.words_per_step))
        for block in range(start // together * together, steps, together):
            bounds, generator = text.bounds[block : block + together + 1], stream(*names, "negatives", block)
            if config.shared_negatives:
                drawn = self.sampler.spread(len(bounds) - 1, config.shared_negatives, generator)
            else:
                drawn = self.sampler.independent(bounds[-1] - bounds[0], config.negatives, generator)
            draws = Draws(drawn.to(self.device), bool(config.shared_negatives), config.negatives / drawn.shape[-1])
            found = assembled(windows(bounds), draws, self.inputs, self.dtype)
            yield from itertools.islice(found, max(start - block, 0), None)

    def typical(self) -> Sizes:
        text = kept(
            self.corpus.tokens[: EVALUATION_STEPS * self.config.words_per_step],
            self.keep,
            self.config.window,
            self.config.words_per_step,
            "evaluation",
        )
        batches = list(self._minibatches(text, 0, ("evaluation",)))
        mean = [sum(n) / len(batches) for n in zip(*(self._sizes(b) for b in batches), strict=True)]
        return Sizes(*mean)

    @staticmethod
    def _sizes(b: cbow.Minibatch) -> tuple[int, ...]:
        return (
            len(b.present),
            len(b.context.means.by_rows.values),
            len(b.context.words),
            len(b.asked.rows),
            b.asked.shared,
        )

    def step(self, model: Model, batch: cbow.Minibatch) -> tuple[Update, dict[str, Tensor]]:
        f, pullback = model.linearized(batch.context, batch.asked)
        return pullback(cbow.cotangent(f, batch, self.config.sigmoid == "table")), {
            "loss": cbow.loss(f, batch, LOSS_SHARE)
        }

    def _vectors(self, model: Model):
        return lambda words: model.features(Bags.single(words))

    def answered(self, model: Model) -> Tensor:
        """Whether each question that the vocabulary covers is answered rightly, (covered,) bool."""
        questions = self.corpus.questions[self.covered]
        return answers(self._vectors(model), self.inputs, questions) == questions[:, 3]

    def evaluate(self, model: Model, split: str) -> Evaluation:
        """Analogy accuracies in per cent over the questions that the vocabulary covers, and the loss on the text's first words.

        And which of these questions were answered rightly: ``correct`` (covered,) bool.
        """
        correct = self.answered(model)
        found = accuracies(correct, self.corpus.sections[self.covered], self.corpus.section_names)
        metrics = {**found, "questions": float(len(correct)), "loss": self._loss(model)}
        return Evaluation(metrics, {"correct": correct.cpu().numpy()})

    def _loss(self, model: Model) -> float:
        tokens = self.corpus.tokens[: EVALUATION_STEPS * self.config.words_per_step]
        text = kept(tokens, self.keep, self.config.window, self.config.words_per_step, "evaluation")
        losses = [
            cbow.loss(model.linearized(b.context, b.asked)[0], b) for b in self._minibatches(text, 0, ("evaluation",))
        ]
        return torch.stack(losses).double().mean().item()

    def probe(self) -> Probe:
        """The names in one section of the questions: which are cities, which are states."""
        section = self.corpus.section_names.index(self.config.probe_section)
        asked = self.corpus.questions[self.corpus.sections == section].cpu()
        sides = [set(asked[:, columns].flatten().tolist()) - {-1} for columns in ((0, 2), (1, 3))]
        sides = [sorted(side - other) for side, other in zip(sides, sides[::-1], strict=True)]
        words = torch.tensor(sides[0] + sides[1], dtype=torch.int64, device=self.device)
        labels = torch.tensor([0] * len(sides[0]) + [1] * len(sides[1]))
        one, two = (
            self.config.probe_section.split("-in-") if "-in-" in self.config.probe_section else ("first", "second")
        )
        return Probe(Bags.single(words), labels, (one, two), tuple(self.corpus.words[w] for w in words.tolist()))

    def evidence(self, model: Model) -> Evidence:
        """Nearest neighbours of a few words, and the embedding where it is asked for."""
        index = {w: i for i, w in enumerate(self.corpus.words)}
        known = [w for w in self.config.neighbours_of if w in index]
        rows = []
        if known:
            near, cosine = nearest(
                self._vectors(model),
                self.inputs,
                torch.tensor([index[w] for w in known], device=self.device),
                NEIGHBOURS,
            )
            for word, words, cosines in zip(known, near.tolist(), cosine.tolist(), strict=True):
                rows.append(
                    {
                        "word": word,
                        "nearest": [[self.corpus.words[w], round(c, 3)] for w, c in zip(words, cosines, strict=True)],
                    }
                )
        write = {"text": embeddings.write_text, "binary": embeddings.write_binary}.get(self.config.embeddings)
        files = {name: lambda path: write(path, self.corpus.words, self._embedding(model)) for name in self.files}
        return Evidence(tables={"neighbours": rows}, files=files)

    def _embedding(self, model: Model) -> np.ndarray:
        """Vectors of all words, in full or in the embedding_rank coordinates that keep most of their inner products."""
        return embeddings.projected(
            self._vectors(model), self.inputs, self.config.embedding_rank, stream("embedding"), self.device
        ).numpy()

    def remedy(self, largest: int) -> str:
        counts = self.corpus.counts
        if largest < 1 or largest >= len(counts):
            return ""
        smallest = int(counts[largest]) + 1  # words are in order of their counts
        return f"the largest vocabulary that fits has {largest} words: set data.min_count={smallest} ({int((counts >= smallest).sum())} words), or"

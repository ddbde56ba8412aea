"""Word2Vec as a task: minibatches of a text in its order, and what its word vectors are worth (TP4 section 9)."""

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from infwidth.errors import ConfigError, DataError
from infwidth.models.bags import Bags
from infwidth.models.contract import Model
from infwidth.models.cost import CONCLUSION, EVALUATION, TRAINING, Footprint, Shape, Sizes
from infwidth.models.updates import Update
from infwidth.seeding import stream
from infwidth.tasks.contract import Evaluation, Evidence, Probe, Task, bytes_of
from infwidth.tasks.word2vec import cbow, embeddings
from infwidth.tasks.word2vec.analogies import COLUMNS, accuracies, answers, nearest
from infwidth.tasks.word2vec.config import Word2VecConfig
from infwidth.tasks.word2vec.corpus import Corpus, side_names
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

PREPARED, KEPT = 2000, 2 * (8 + 1)
"""Bytes for each position of minibatches that are prepared together, measured, and of those that are kept of an epoch,
twice while they are joined."""

NEIGHBOURS = 8
"""Neighbours that are listed of a word."""

FILES = {"none": (), "text": ("embeddings.txt",), "binary": ("embeddings.bin",)}
"""The files that task.embeddings asks for."""


class Word2Vec(Task):
    """CBOW with negative sampling on a corpus.

    The validation and the test are the same analogy questions, so nothing is selected on them. Without questions
    there is no accuracy, and the loss alone is evaluated. Raises ConfigError for a section that the questions do
    not have, DataError for questions none of which has all its words in the vocabulary.
    """

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
        self.files = FILES[config.embeddings]
        self.keep = keep_probability(corpus.counts, config.subsample)
        self.sampler = Negatives(corpus.counts, config.power)
        self.shown_section = corpus.shown_section(config.probe_section)
        self.covered = (corpus.questions >= 0).all(1)
        self.at_once = COLUMNS
        tensors = (corpus.tokens, corpus.counts, corpus.questions, corpus.sections, self.keep, self.sampler.cumulative)
        self.resident = bytes_of(tensors)
        if len(corpus.questions) and not self.covered.any():
            raise DataError(
                "no analogy question has all its words in the vocabulary; lower data.min_count or take more of the "
                "text."
            )

    @property
    def positions(self) -> float:
        """Expected positions of a minibatch: those of its running words that subsampling keeps."""
        counts = self.corpus.counts.double()
        return self.config.words_per_step * (counts * self.keep).sum().item() / counts.sum().item()

    def check(self, learning_rate: float) -> None:
        """Refuse minibatches larger than those that were seen to follow sequential SGD.

        One shared negative adds up the gradients of all B positions, negatives/shared_negatives each. Both layers
        move by steps that grow with the rate, so what this overshoots by grows with the rate's square. Training
        followed sequential SGD as long as rate^2 * B * negatives/shared_negatives <= 0.125: at 0.2 one seed in six
        loses its way for some thousand minibatches, at 0.25 every second one does. And, however negatives are
        drawn, as long as rate^2 * B <= 2: at 2.5 two seeds in six lost theirs.
        """
        config = self.config
        summed = max(self.positions * config.negatives / (config.shared_negatives or torch.inf), self.positions / 16)
        found = learning_rate * learning_rate * summed  # infinite, not an error, where the rate is absurd
        if config.most_summed is None or found <= config.most_summed:
            return
        raise ConfigError(
            f"minibatches of task.words_per_step={config.words_per_step} ({self.positions:.0f} positions) with "
            f"task.shared_negatives={config.shared_negatives} are too large for "
            f"trainer.learning_rate={learning_rate:g}: {learning_rate:g}^2 times {summed:.0f} summed gradients is "
            f"{found:.2f}, beyond task.most_summed={config.most_summed:g}, up to which training was seen to follow "
            "sequential SGD. Raise task.shared_negatives, lower task.words_per_step or the rate, or set "
            "task.most_summed=null to go on regardless."
        )

    def batches(self, epoch: int, start: int = 0) -> Iterator[cbow.Minibatch]:
        names = (self.seed, "train", epoch)
        return self._minibatches(self._kept(self.corpus.tokens, names), start, names)

    def _kept(self, tokens: Tensor, names: tuple[int | str, ...]) -> Kept:
        """What subsampling keeps of running words, by the random stream ``names``."""
        return kept(tokens, self.keep, self.config.window, self.config.words_per_step, *names)

    def _minibatches(self, text: Kept, start: int, names: tuple[int | str, ...]) -> Iterator[cbow.Minibatch]:
        """Minibatches from step ``start`` on; the negatives of a block of steps come from one random stream."""
        config, steps = self.config, len(text.bounds) - 1
        windows = Windows(text.words.to(self.device), text.reach.to(self.device), config.window, config.sentence)
        together = max(1, min(STEPS_TOGETHER, WORDS_TOGETHER // config.words_per_step))
        first = start // together * together  # a block is drawn whole, also where an epoch goes on inside it
        for block in range(first, steps, together):
            bounds = text.bounds[block : block + together + 1]
            draws = self._draws(len(bounds) - 1, bounds[-1] - bounds[0], stream(*names, "negatives", block))
            found = assembled(windows(bounds), draws, self.inputs, self.dtype)
            yield from itertools.islice(found, max(start - block, 0), None)

    def _draws(self, minibatches: int, positions: int, generator: torch.Generator) -> Draws:
        """Negatives of some consecutive minibatches, or of their positions; their weights add up to task.negatives."""
        wanted, shared = self.config.negatives, self.config.shared_negatives
        if shared:
            words = self.sampler.spread(minibatches, shared, generator)
        else:
            words = self.sampler.independent(positions, wanted, generator)
        return Draws(words.to(self.device), shared=bool(shared), weight=wanted / words.shape[-1])

    def _evaluated(self) -> Iterator[cbow.Minibatch]:
        """The minibatches that the reported loss is taken on."""
        tokens, names = self.corpus.tokens[: EVALUATION_STEPS * self.config.words_per_step], ("evaluation",)
        return self._minibatches(self._kept(tokens, names), 0, names)

    def typical(self) -> Sizes:
        sizes = [_sizes(batch) for batch in self._evaluated()]
        return Sizes(*(sum(numbers) / len(sizes) for numbers in zip(*sizes, strict=True)))

    def step(self, model: Model, batch: cbow.Minibatch) -> tuple[Update, dict[str, Tensor]]:
        f, pullback = model.linearized(batch.context, batch.asked)
        update = pullback(cbow.cotangent(f, batch, self.config.sigmoid == "table"))
        return update, {"loss": cbow.loss(f, batch, LOSS_SHARE)}

    def evaluate(self, model: Model, split: str) -> Evaluation:
        """Analogy accuracies in per cent, the number of questions they are of, and the loss on the text's first words.

        The questions are those that the vocabulary covers; ``correct`` (covered,) bool says which were answered
        rightly. Without any there is the loss alone.
        """
        loss = {"loss": self._loss(model)}
        if not len(self.corpus.questions):
            return Evaluation(loss)
        questions, sections = self.corpus.questions[self.covered], self.corpus.sections[self.covered]
        correct = answers(_vectors(model), self.inputs, questions) == questions[:, 3]
        found = accuracies(correct, sections, self.corpus.section_names)
        metrics = {**found, "questions": float(len(correct)), **loss}
        return Evaluation(metrics, {"correct": correct.cpu().numpy()})

    def _loss(self, model: Model) -> float:
        losses = [cbow.loss(model.linearized(b.context, b.asked)[0], b) for b in self._evaluated()]
        return torch.stack(losses).double().mean().item()

    def probe(self) -> Probe | None:
        """The names in one section of the questions: which are cities, which are states. None without a section."""
        if self.shown_section is None:
            return None
        first, second = self.corpus.sides(self.shown_section)
        words = first + second
        return Probe(
            x=Bags.single(torch.tensor(words, dtype=torch.int64, device=self.device)),
            labels=torch.tensor([0] * len(first) + [1] * len(second)),
            names=side_names(self.shown_section),
            examples=tuple(self.corpus.words[w] for w in words),
        )

    def evidence(self, model: Model) -> Evidence:
        """Nearest neighbours of a few words, and the embedding where it is asked for."""
        write = {"text": embeddings.write_text, "binary": embeddings.write_binary}.get(self.config.embeddings)
        files = {name: lambda path: write(path, self.corpus.words, self._embedding(model)) for name in self.files}
        return Evidence(tables={"neighbours": self._neighbours(model)}, files=files)

    def _neighbours(self, model: Model) -> list[dict[str, object]]:
        """For each word of task.neighbours_of that the vocabulary has, its nearest words and their cosines."""
        names, wanted = self.corpus.words, set(self.config.neighbours_of)
        index = {word: i for i, word in enumerate(names) if word in wanted}
        known = [word for word in self.config.neighbours_of if word in index]
        if not known:
            return []
        words = torch.tensor([index[word] for word in known], device=self.device)
        near, cosine = nearest(_vectors(model), self.inputs, words, NEIGHBOURS)
        return [
            {"word": word, "nearest": [[names[w], round(c, 3)] for w, c in zip(others, cosines, strict=True)]}
            for word, others, cosines in zip(known, near.tolist(), cosine.tolist(), strict=True)
        ]

    def _embedding(self, model: Model) -> np.ndarray:
        """Vectors of all words, in full or in the embedding_rank coordinates that keep most of their inner products."""
        rank, generator = self.config.embedding_rank, stream("embedding")
        return embeddings.projected(_vectors(model), self.inputs, rank, generator, self.device).numpy()

    def takes(self, model: Footprint, shape: Shape) -> Mapping[str, int]:
        """Minibatches that are prepared together; in training the words that are kept of an epoch; in an evaluation the
        vectors and the scores of the words that are asked for; in the end the vectors that are written."""
        config, size = self.config, self.dtype.itemsize
        share = self.positions / config.words_per_step
        together = max(config.words_per_step, min(WORDS_TOGETHER, STEPS_TOGETHER * config.words_per_step))
        prepared = int(PREPARED * share * min(together, len(self.corpus.tokens)))
        asked = len(torch.unique(self.corpus.questions[self.covered][:, :3]))
        found = {
            TRAINING: prepared + int(KEPT * share * len(self.corpus.tokens)),
            EVALUATION: prepared + asked * (2 * model.features + COLUMNS) * size,
        }
        if self.files:
            found[CONCLUSION] = embeddings.memory(self.inputs, model.features, config.embedding_rank, size)
        return found

    def remedy(self, largest: int) -> str:
        counts = self.corpus.counts
        if largest < 1 or largest >= len(counts):
            return ""
        smallest = int(counts[largest]) + 1  # words are in order of their counts
        words = int((counts >= smallest).sum())
        return (
            f"the largest vocabulary that fits has {largest} words: set data.min_count={smallest} ({words} words), or"
        )


def _vectors(model: Model) -> Callable[[Tensor], Tensor]:
    """The vectors (n, m) of words (n,)."""
    return lambda words: model.features(Bags.single(words))


def _sizes(batch: cbow.Minibatch) -> tuple[int, ...]:
    """The fields of :class:`infwidth.models.cost.Sizes`."""
    members = len(batch.context.means.by_rows.values)
    return len(batch.present), members, len(batch.context.words), len(batch.asked.rows), batch.asked.shared

"""From positions of a text to minibatches: which distinct words each touches, and where a position finds its own.

Many consecutive minibatches are prepared together, so that their words are sorted once, and on a GPU their sizes
are waited for once; then each takes its part of what was prepared.
"""

from collections.abc import Iterator

import torch

from infwidth.tasks.word2vec.cbow import Minibatch
from infwidth.tasks.word2vec.contexts import Contexts
from infwidth.tasks.word2vec.layout import Layout, parts
from infwidth.tasks.word2vec.outputs import Draws, Outputs, OwnWeights, SharedWeights
from infwidth.tasks.word2vec.windows import Positions


def assembled(positions: Positions, draws: Draws, vocabulary: int, dtype: torch.dtype) -> Iterator[Minibatch]:
    """The minibatches of ``positions`` with the negatives of ``draws``; weights are of ``dtype``."""
    layout = Layout.of(positions.bounds, draws.words.device)
    contexts = Contexts.of(positions, layout, vocabulary, dtype)
    outputs = Outputs.of(positions.targets, draws, layout, vocabulary)
    if draws.shared:
        weights = SharedWeights(outputs, draws, layout, contexts.present)
    else:
        weights = OwnWeights(outputs, positions.targets, draws, layout, contexts.present)
    touches = outputs.touches(contexts.present, weights)

    begins = (layout.begin, contexts.first_entry, contexts.first_word, outputs.first_negative, outputs.first)
    for part in parts(*begins):
        present = contexts.present[part.positions]
        yield Minibatch(contexts.bags(part), outputs.asked(part, touches), weights(part), present)

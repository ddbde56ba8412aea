"""task=word2vec: word vectors by continuous bag of words, of any text (TP4 section 9)."""

import torch

from infwidth.data.prepared import Prepared
from infwidth.data.text import as_words
from infwidth.tasks.description import Description
from infwidth.tasks.word2vec.config import Word2VecConfig
from infwidth.tasks.word2vec.corpus import Corpus
from infwidth.tasks.word2vec.task import Word2Vec


def build(config: Word2VecConfig, data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> Word2Vec:
    arrays = data.arrays
    corpus = Corpus(
        tokens=torch.tensor(arrays["tokens"]),
        counts=torch.tensor(arrays["counts"]),
        words=as_words(arrays["words"]),
        questions=torch.tensor(arrays["questions"], device=device).long(),
        sections=torch.tensor(arrays["sections"], device=device).long(),
        section_names=tuple(data.manifest["sections"]),
    )
    return Word2Vec(config, corpus, seed, device, dtype)


TASK = Description("word2vec", Word2VecConfig, "text", build)

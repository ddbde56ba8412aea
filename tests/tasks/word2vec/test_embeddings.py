"""Word vectors projected to fewer coordinates."""

import torch

from infwidth.tasks.word2vec import embeddings
from tests.tasks.word2vec.helpers import generator


def test_the_projection_keeps_the_inner_products_as_well_as_its_rank_can():
    M = torch.randn(60, 40, generator=generator(), dtype=torch.float64) * 0.7 ** torch.arange(40)
    found = embeddings.projected(lambda w: M[w], 60, 10, generator(1), torch.device("cpu")).double()
    best = torch.linalg.svdvals(M)[10:].square().square().sum().sqrt()
    assert found.shape == (60, 10) and (found @ found.mT - M @ M.mT).norm() < 1.01 * best
    assert torch.equal(embeddings.projected(lambda w: M[w], 60, 40, generator(1), torch.device("cpu")), M.float())

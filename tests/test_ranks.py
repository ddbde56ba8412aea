"""What ranks deal out and hand round, what each takes of its machine, and how they are told to stop."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from infwidth.errors import ConfigError, RankError
from infwidth.models.cost import Shape
from infwidth.models.family import config_of
from infwidth.ranks import ALONE, Exchange, Ranks
from infwidth.training import resources
from infwidth.training.config import TrainerConfig
from infwidth.training.stopping import Stop
from tests.ranks import together


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_things_are_dealt_out_in_turn(size):
    everything = torch.arange(11)
    shares = [everything[Ranks(rank, size).own()] for rank in range(size)]
    assert sorted(torch.cat(shares).tolist()) == everything.tolist()
    assert [len(share) for share in shares] == [Ranks(rank, size).share(11) for rank in range(size)]
    # In two goes, the second of which goes on where the first has stopped.
    for rank, share in enumerate(shares):
        ranks = Ranks(rank, size)
        again = torch.cat([everything[:4][ranks.own()], everything[4:][ranks.own(4)]])
        assert torch.equal(again, share)


@pytest.mark.parametrize("shape, dim", [((11, 2), 0), ((2, 11), 1), ((2, 1), 1)])
def test_shares_are_put_together_again(shape, dim):
    whole = torch.arange(shape[0] * shape[1]).reshape(shape)

    def put_together(ranks):
        share = whole[(slice(None),) * dim + (ranks.own(),)]
        return ranks.whole(share, shape[dim], dim), ranks.exchanged

    for found, exchanged in together(3, put_together):
        assert torch.equal(found, whole)
        assert exchanged == Exchange(1, whole.numel() // shape[dim] * -(-shape[dim] // 3))


def test_all_ranks_hear_the_same():
    def heard(ranks):
        flags = ranks.any(ranks.rank == 2, False, ranks.first)
        return flags, ranks.total(ranks.rank), ranks.agreed(ranks.rank + 5), ranks.gathered(ranks.rank)

    assert together(3, heard) == [([True, False, True], 3, 5, [0, 1, 2])] * 3
    assert heard(ALONE) == ([False, False, True], 0, 5, [0])


def test_a_rank_that_does_not_answer_is_a_sentence():
    class Silent(Ranks):
        def _add_up(self, t):
            raise RuntimeError("[/gloo/pair.cc:545] Read error [::1]:1: Connection reset by peer. This is ...\nMore")

    ranks = Silent(0, 2)
    said = r"has ended or does not answer \(Read error \[::1\]:1: Connection reset by peer\); what was saved is kept"
    with pytest.raises(RankError, match=said):
        ranks.add_up(torch.zeros(2))
    assert ranks.lost


@pytest.mark.parametrize(
    "keys, shape, least, most",
    [
        ({"name": "pi_limit", "rank": 8}, Shape(5, 3, batch=32, steps=2000), 0.4, 0.6),
        ({"name": "mu_limit", "sigma_v": 0.0}, Shape(500, 500, True), 0.5, 0.5),
        ({"name": "finite", "width": 64}, Shape(500, 500, True), 1, 1),  # drawn whole
    ],
)
def test_the_memory_of_a_rank_is_its_share(keys, shape, least, most):
    model = config_of(keys)
    held = lambda ranks: model.footprint(replace(shape, ranks=ranks), None, torch.float32).held
    assert least <= held(Ranks(0, 2)) / held(ALONE) <= most


def test_ranks_of_a_machine_have_a_gpu_each_and_share_the_memory_of_its_cpu(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert resources._own_gpu("cuda", Ranks(5, 6, place=2, here=3)) == "cuda:2" and chosen == ["cuda:2"]
    with pytest.raises(ConfigError, match="trainer.device=cuda:1 is one GPU, and 2 ranks on a machine need one each"):
        resources.chosen_device(TrainerConfig(device="cuda:1"), Ranks(0, 2, 0, 2))
    with pytest.raises(ConfigError, match="there are 4 ranks on a machine with 3 GPUs"):
        resources.chosen_device(TrainerConfig(), Ranks(0, 4, 0, 4))

    monkeypatch.setattr(resources.prediction, "free_memory", lambda device: 900)
    cpu = torch.device("cpu")
    for ranks, free in ((ALONE, 900), (Ranks(0, 3, 0, 3), 300), (Ranks(0, 3, 0, 1), 900)):
        assert resources.Resources(None, None, Shape(1, 1, ranks=ranks), cpu, torch.float32)._free(cpu) == free


def test_a_signal_that_torchrun_passes_on_is_not_a_second_wish():
    with Stop(repeated=True) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        stop._patience = 0.0
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with Stop() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

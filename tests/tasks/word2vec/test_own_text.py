"""A text of one's own, which has no analogy questions, as a run."""

import json
import math

import numpy as np
import pytest

from infwidth import train
from infwidth.runs.compose import composed
from infwidth.tasks.word2vec.task import Word2Vec

UNTRAINED = 26 * math.log(2)
"""The loss of a position whose outputs, of its target and of 25 negatives, are all 0."""


@pytest.fixture
def text(tmp_path):
    """Words that stand beside their like: vowels among vowels, consonants among consonants."""
    rng, words = np.random.default_rng(0), []
    for _ in range(400):
        words += rng.choice(["a", "e", "i", "o", "u"] if rng.integers(2) else ["b", "c", "d", "f", "g"], 10).tolist()
    path = tmp_path / "mine.txt"
    path.write_text(" ".join(words))
    return path


def config(folder, text, *overrides):
    return composed(
        "train",
        [
            "scale=demo",
            "task=word2vec",
            "data=text_file",
            f"data.path={text}",
            "data.questions=''",
            "data.min_count=1",
            f"data.root={folder}/data",
            f"paths.results={folder}/results",
            "logger=none",
            "trainer.progress=false",
            "trainer.epochs=3",
            "task.words_per_step=20",
            "trainer.learning_rate=0.1",
            "task.shared_negatives=64",
            "task.subsample=1",
            "task.neighbours_of=[a,b]",
            *overrides,
        ],
    )


@pytest.mark.parametrize("model", ["mu_limit", "finite", "ntk_limit"])
def test_it_is_trained_and_judged_by_its_loss(model, tmp_path, text, capsys):
    summary = train.run(config(tmp_path, text, f"model={model}"))
    metrics = summary["metrics"]
    assert {k for k in metrics if k.startswith("test/")} == {"test/loss"} and summary["status"] == "finished"
    assert f"test loss {metrics['test/loss']:.4f} at epoch 3" in capsys.readouterr().out
    folder = tmp_path / "results/runs/own_word2vec" / summary["id"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 4 and rows[2]["validation/loss"] < 5 < UNTRAINED
    assert not (folder / "features.npz").exists() and not (folder / "evidence.npz").exists()
    near = json.loads((folder / "evidence.json").read_text())["neighbours"]
    assert [row["word"] for row in near] == ["a", "b"]
    if model == "mu_limit":  # soon enough; the ntk_limit's word vectors never move
        assert {word for word, _ in near[0]["nearest"][:3]} < {"e", "i", "o", "u"}


def test_it_goes_on_where_it_was_stopped(tmp_path, text, monkeypatch):
    options = ["model=mu_limit", "trainer.checkpoint_every=1"]
    whole = train.run(config(tmp_path / "whole", text, *options))
    batches = Word2Vec.batches

    def stopped(task, epoch, start=0):
        if epoch == 2:
            raise ConnectionError
        return batches(task, epoch, start)

    with monkeypatch.context() as patched, pytest.raises(ConnectionError):
        patched.setattr(Word2Vec, "batches", stopped)
        train.run(config(tmp_path / "parts", text, *options))
    assert train.run(config(tmp_path / "parts", text, *options))["metrics"] == whole["metrics"]

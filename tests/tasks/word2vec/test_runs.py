"""Word2Vec as runs: what is predicted and refused, and files that are kept."""

import re

import pytest
import torch
from safetensors.torch import load_file

from infwidth import train
from infwidth.data.questions import parse
from infwidth.errors import CheckpointError, ConfigError
from infwidth.models import linear
from infwidth.parametrization import named
from infwidth.training import prediction
from tests.tasks.word2vec.helpers import V, generator
from tests.training.helpers import small


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["model=finite", "model.depth=2"], "go with one linear hidden layer only"),
        (["model=finite", "model.activation=relu"], "go with one linear hidden layer only"),
        (
            ["model=mu_limit", "trainer.selection=validation"],
            "no validation data of its own; use trainer.selection=last",
        ),
        (["model=mu_limit", "task.window=0"], "task.window is 0; it must be at least 1"),
        (["model=mu_limit", "task.window=128"], "task.window is 128; it must be at most 127"),
        (["model=mu_limit", "task.shared_negatives=1000000000"], "it must be at most 100000"),
        (["model=mu_limit", "trainer.learning_rate=1e300"], "beyond task.most_summed=0.125"),
        (["model=mu_limit", "trainer.learning_rate=30"], "beyond task.most_summed=0.125"),
        (["model=ntk_limit", "model.activation=relu"], "model.activation=linear"),
        (["model=mu_limit", "data.questions=0"], "data.questions is 0"),
    ],
)
def test_what_has_no_meaning_says_why(overrides, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train.run(small(tmp_path, "task=word2vec", *overrides))
    assert not (tmp_path / "results").exists()


def test_a_vocabulary_too_large_for_the_memory_is_refused_before_it_is_allocated(tmp_path, monkeypatch):
    """2 V^2 + V float32 numbers, as many for the gradients of a step, and what an evaluation takes."""
    monkeypatch.setattr(prediction, "free_memory", lambda device: 1_600_000)
    said = r"GB at its peak, in .* the largest vocabulary that fits has \d+ words: set data.min_count=\d+ \(\d+ words.*"
    said += r"start torchrun with \d+ ranks that have as much memory each, or take a device with more memory"
    with pytest.raises(ConfigError, match=said):
        train.run(small(tmp_path, "task=word2vec", "model=mu_limit"))


def test_a_run_stops_at_a_stated_epoch_of_its_schedule_and_keeps_what_evaluation_needs(tmp_path):
    whole = train.run(small(tmp_path / "a", "task=word2vec", "trainer.epochs=3"))
    part = train.run(
        small(tmp_path / "b", "task=word2vec", "trainer.epochs=3", "trainer.stop_epoch=2", "trainer.checkpoint_every=0")
    )
    rows = {
        p: (tmp_path / p / "results/runs/own_word2vec" / s["id"] / "metrics.jsonl").read_text().splitlines()
        for p, s in (("a", whole), ("b", part))
    }
    strip = lambda line: line.rsplit(', "seconds"', 1)[0]
    assert (
        [strip(r) for r in rows["b"][:2]] == [strip(r) for r in rows["a"][:2]]
        and len(rows["b"]) == 3
        and part["best_epoch"] == 2
    )
    folder = tmp_path / "b/results/runs/own_word2vec" / part["id"]
    assert (
        list((folder / "checkpoints").iterdir()) == []
        and (folder / "evidence.npz").exists()
        and (folder / "features.npz").exists()
    )


def test_questions_are_lower_case_and_in_their_sections():
    found = parse(": one\nA b C d\n: gram-two\ne f g h\n", "x")
    assert found.words == (("a", "b", "c", "d"), ("e", "f", "g", "h")) and found.section == (0, 1)


def test_a_state_by_columns_is_saved_without_a_copy_and_taken_over():
    net, other = (linear.finite(5, V, V, 1.0, 0.8, 0.5, named("mup", 1), generator(s), bags=True) for s in (0, 1))
    state = net.state()
    assert state["columns"].is_contiguous() and state["columns"].data_ptr() == net.U.data_ptr()
    other.load_state(state)
    assert torch.equal(other.U, net.U) and torch.equal(other.V, net.V) and not other.U.is_contiguous()
    with pytest.raises(CheckpointError, match="does not fit"):
        other.load_state(
            linear.finite(5, V, V, 1.0, 0.8, 0.5, named("mup", 1), generator()).state()
            | {"columns": state["columns"][:3]}
        )


def test_word_vectors_can_be_had_of_a_finished_run(tmp_path, capsys):
    options = ["task=word2vec", "model=mu_limit", "trainer.epochs=1", "task.embedding_rank=6"]
    summary = train.run(small(tmp_path, *options))
    path = tmp_path / "results/runs/own_word2vec" / summary["id"] / "embeddings.txt"
    assert not path.exists() and train.run(small(tmp_path, *options, "task.embeddings=text")) == summary
    assert "written from the run's checkpoint" in capsys.readouterr().out
    kept = path.read_text()
    path.unlink()
    train.run(small(tmp_path, *options, "task.embeddings=text", "force=true"))
    assert path.read_text() == kept
    path.unlink()
    (path.parent / "checkpoints/best.safetensors").unlink()
    with pytest.raises(ConfigError, match="kept no checkpoint; force=true repeats it"):
        train.run(small(tmp_path, *options, "task.embeddings=text"))


def test_what_it_will_take_is_said_before(tmp_path, capsys):
    summary = train.run(small(tmp_path, "task=word2vec", "model=mu_limit"))
    said = capsys.readouterr().out
    assert re.match(
        r"predicted: \d.\d\d GB of memory at most, in .*, about \d+\.\d min of training for 240 steps", said
    )
    state = load_file(tmp_path / "results/runs/own_word2vec" / summary["id"] / "checkpoints/best.safetensors")
    assert summary["predicted"]["parameter_bytes"] == sum(t.numel() * t.element_size() for t in state.values())


@pytest.mark.parametrize("form", ["text", "binary"])
@pytest.mark.parametrize("model", ["model=finite", "model=mu_limit"])
def test_gensim_reads_the_word_vectors(form, model, tmp_path):
    from gensim.models import KeyedVectors

    rank = [] if model == "model=finite" else ["task.embedding_rank=6"]
    summary = train.run(
        small(
            tmp_path,
            "task=word2vec",
            model,
            "trainer.epochs=1",
            f"task.embeddings={form}",
            *rank,
            "model.width=20" if not rank else "seed=0",
        )
    )
    folder = tmp_path / "results/runs/own_word2vec" / summary["id"]
    path = folder / {"text": "embeddings.txt", "binary": "embeddings.bin"}[form]
    vectors = KeyedVectors.load_word2vec_format(str(path), binary=form == "binary")
    columns = load_file(folder / "checkpoints/best.safetensors")["columns"]
    assert len(vectors) == len(columns) and vectors.vector_size == (6 if rank else 20)
    gram = columns @ columns.mT
    found = torch.tensor(vectors.vectors) @ torch.tensor(vectors.vectors).mT
    if not rank:
        torch.testing.assert_close(found, gram)
    else:
        assert (found - gram).norm() <= torch.linalg.svdvals(gram)[6:].norm() * 1.02

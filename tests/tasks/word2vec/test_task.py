"""Word2Vec as a task: its batches, questions and pictures, and what is refused."""

import pytest
import torch

from infwidth.errors import ConfigError, DataError
from infwidth.models import linear
from infwidth.parametrization import named
from infwidth.tasks.word2vec.analogies import accuracies
from infwidth.tasks.word2vec.config import Word2VecConfig
from infwidth.tasks.word2vec.corpus import Corpus
from infwidth.tasks.word2vec.task import Word2Vec
from tests.tasks.word2vec.helpers import V, generator


def corpus(questions=((0, 1, 2, 3),), sections=None, names=("city-in-state",), words=300):
    """A text of random words, with questions of the first section unless they are said to be of others."""
    tokens = torch.randint(V, (words,), generator=generator()).int()
    return Corpus(
        tokens=tokens,
        counts=torch.bincount(tokens, minlength=V),
        words=[f"w{i}" for i in range(V)],
        questions=torch.tensor(questions, dtype=torch.int64).reshape(-1, 4),
        sections=torch.tensor(sections or [0] * len(questions), dtype=torch.int64),
        section_names=names,
    )


SMALL = {
    "window": 3,
    "negatives": 5,
    "shared_negatives": 4,
    "subsample": 0.5,
    "sentence": 20,
    "words_per_step": 30,
    "most_summed": 0.25,
}


def task(text=None, **more):
    config = Word2VecConfig(**{**SMALL, **more})
    return Word2Vec(config, text or corpus(), 0, torch.device("cpu"), torch.float64)


def network(alpha=0.0):
    return linear.finite(5, V, V, 1.0, 0.8, alpha, named("mup", 1), generator(), torch.float64, bags=True)


@pytest.mark.parametrize("together", [4, 64])
@pytest.mark.parametrize("shared", [4, None])
def test_an_epoch_resumed_inside_goes_on_with_the_same_batches(shared, together, monkeypatch):
    monkeypatch.setattr("infwidth.tasks.word2vec.task.STEPS_TOGETHER", together)
    whole, resumed = (list(task(shared_negatives=shared).batches(2, start)) for start in (0, 6))
    assert len(whole) == 10 == task().steps_per_epoch
    for one, other in zip(whole[6:], resumed, strict=True):
        pairs = [
            (one.weight, other.weight),
            (one.context.means.dense(), other.context.means.dense()),
            (one.context.words, other.context.words),
        ]
        pairs += [(one.asked.rows, other.asked.rows), (one.asked.own, other.asked.own)]
        assert all(torch.equal(x, y) for x, y in pairs)


def test_minibatches_that_would_diverge_are_refused():
    """All 30 words of a minibatch are kept, and 5 negatives share 4 draws: 37.5 gradients in each."""
    assert task().positions == pytest.approx(30)
    with pytest.raises(
        ConfigError,
        match=r"0.1\^2 times 38 summed gradients is 0.38, beyond task.most_summed=0.25.* Raise task.shared_negatives",
    ):
        task().check(0.1)
    task().check(0.08)
    task(shared_negatives=7).check(0.1)
    with pytest.raises(ConfigError, match="shared_negatives=None are too large for trainer.learning_rate=0.4"):
        task(shared_negatives=None).check(0.4)
    task(shared_negatives=None).check(0.36)
    task(most_summed=None).check(10)


def test_an_absurd_rate_is_refused_like_a_large_one():
    with pytest.raises(ConfigError, match="summed gradients is inf, beyond task.most_summed"):
        task().check(1e300)


def test_a_vocabulary_without_questions_and_an_unknown_section():
    with pytest.raises(DataError, match="no analogy question has all its words"):
        task(corpus(questions=((0, 1, 2, -1),)))
    with pytest.raises(ConfigError, match="is 'verbs'; choose one of the questions' sections: city-in-state; or null"):
        task(probe_section="verbs")
    with pytest.raises(ConfigError, match="is 'city-in-stat'; .*did you mean city-in-state"):
        task(probe_section="city-in-stat")
    with pytest.raises(ConfigError, match="is 'verbs', but the data have no questions; set it to null"):
        task(corpus(questions=(), names=()), probe_section="verbs")


def test_the_probe_has_the_names_of_one_side_or_the_other():
    probe = task(corpus(questions=((0, 1, 2, 3), (4, 2, 5, -1)))).probe()
    assert probe.names == ("city", "state") and probe.examples == ("w0", "w4", "w5", "w1", "w3")
    assert probe.labels.tolist() == [0, 0, 0, 1, 1] and probe.x.words.tolist() == [0, 4, 5, 1, 3]


PAIRS = ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11))


def test_other_questions_show_their_first_section_that_has_enough_words():
    own = corpus(questions=(*PAIRS, *PAIRS), sections=[0, 1, 1, 2, 2, 2], names=("few", "fewer", "river-in-land"))
    assert task(own).probe().names == ("river", "land") and len(task(own).probe().examples) == 12
    assert task(own, probe_section="few").probe().names == ("first", "second")
    assert task(own, probe_section=None).probe() is None
    assert task(corpus(questions=PAIRS[:2], names=("few",))).probe() is None


def test_a_text_without_questions_has_a_loss_and_neighbours_and_nothing_to_show():
    model, own = network(), corpus(questions=(), names=())
    found = task(own, neighbours_of=("w3", "unknown")).evaluate(model, "validation")
    assert found.metrics.keys() == {"loss"} and not found.arrays
    assert found.metrics["loss"] == task().evaluate(model, "validation").metrics["loss"] > 0
    (row,) = task(own, neighbours_of=("w3", "unknown")).evidence(model).tables["neighbours"]
    assert row["word"] == "w3" and len(row["nearest"]) == 8 and task(own).probe() is None


def test_an_evaluation_says_which_questions_were_answered():
    own = corpus(questions=(*PAIRS, (0, 1, 2, -1)), sections=[0, 0, 1, 1], names=("capital", "gram1-plural"))
    found = task(own).evaluate(network(), "test")
    correct = found.arrays["correct"]
    assert correct.shape == (3,) and found.metrics["questions"] == 3
    assert found.metrics["accuracy"] == pytest.approx(100 * correct.mean())
    assert found.metrics["semantic"] == found.metrics["section/capital"] == pytest.approx(100 * correct[:2].mean())
    assert found.metrics["syntactic"] == found.metrics["section/gram1-plural"] == 100 * correct[2]


def test_kinds_without_a_question_have_no_accuracy():
    assert accuracies(torch.tensor([True, False]), torch.tensor([1, 1]), ("gram1-plural", "capital", "river")) == {
        "accuracy": 50,
        "semantic": 50,
        "section/capital": 50,
    }

"""Models and word vectors in a file, and back."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import infwidth as iw
from infwidth.tasks.word2vec.embeddings import write_binary
from tests.api.data import examples
from tests.api.test_models import MAKE, made

WORDS = ["paris", "france", "berlin", "germany", "rome", "italy", "über"]
VECTORS = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)


def trained(kind):
    net = made(kind, **({"landmarks": 8} if kind == "pi_limit" else {}))
    iw.fit(net, *examples(), epochs=3, batch=5, progress=False)
    return net


@pytest.mark.parametrize("kind", MAKE)
def test_a_model_comes_back(kind, tmp_path):
    net, path, (x, y) = trained(kind), tmp_path / "net.safetensors", examples(seed=1)
    card = iw.save(net, path, about="of a test", numbers={"test accuracy": np.float32(61.5)}, licence="MIT")
    again = iw.load(str(path))
    assert torch.equal(again(x), net(x)) and type(again) is type(net) and again.card == card
    assert card.numbers == {"test accuracy": 61.5} and card.versions["infwidth"] == iw.__version__
    said = str(again.card)
    assert "of a test" in said and "test accuracy: 61.5" in said and "licence: MIT" in said and card.kind in said
    for one in (net, again):  # and goes on as it would have
        iw.fit(one, x, y, epochs=1, progress=False)
    torch.testing.assert_close(again(x), net(x), rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["mu_limit", "pi_limit"])
def test_a_network_drawn_from_a_limit_comes_back(kind, tmp_path):
    net, (x, _) = iw.sample(trained(kind), 40, seed=3), examples(seed=1)
    iw.save(net, tmp_path / "net.safetensors")
    assert torch.equal(iw.load(tmp_path / "net.safetensors")(x), net(x))


def test_a_fitted_kernel_comes_back(tmp_path):
    model = iw.kernel_regression("ntk", *examples(), activation="erf", sigma_b=0.1)
    iw.save(model, tmp_path / "kernel.safetensors")
    again, (x, _) = iw.load(tmp_path / "kernel.safetensors"), examples(seed=1)
    assert torch.equal(again(x), model(x)) and again.card.numbers == {"regulariser": 1e-4}


def test_what_is_not_given_stays_and_other_readers_see_the_card(tmp_path):
    path = tmp_path / "net.safetensors"
    iw.save(made("mu_limit"), path, about="first", licence="MIT", numbers={"accuracy": 1})
    iw.save(iw.load(path), path, about="second")
    card = iw.load(path).card
    assert (card.about, card.licence, card.numbers) == ("second", "MIT", {"accuracy": 1.0})
    with safe_open(path, "pt") as f:
        about = json.loads(f.metadata()["infwidth"])
        assert about["kind"] == "mu_limit" and about["shapes"] == {k: list(f.get_tensor(k).shape) for k in f.keys()}


def test_word_vectors_come_back_also_from_word2vecs_format(tmp_path):
    vectors = iw.WordVectors(WORDS, VECTORS)
    iw.save(vectors, tmp_path / "words.safetensors", licence="CC BY-SA 4.0")
    write_binary(tmp_path / "words.bin", WORDS, VECTORS)
    for again in (iw.load(tmp_path / "words.safetensors"), iw.WordVectors.read(tmp_path / "words.bin")):
        assert again.words == WORDS and torch.equal(again.vectors, torch.from_numpy(VECTORS))
    assert torch.equal(vectors["über"], torch.from_numpy(VECTORS[6])) and "rome" in vectors and len(vectors) == 7


def test_nearest_words_and_analogies():
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    vectors = iw.WordVectors(WORDS, VECTORS)
    found = vectors.nearest("rome", count=3)
    cosines = unit @ unit[4]
    order = [i for i in np.argsort(-cosines) if i != 4][:3]
    assert [word for word, _ in found] == [WORDS[i] for i in order]
    np.testing.assert_allclose([value for _, value in found], cosines[order], rtol=1e-5)
    scores = unit @ (unit[0] - unit[1] + unit[3])
    scores[[0, 1, 3]] = -np.inf
    assert vectors.analogy("france", "paris", "germany")[0][0] == WORDS[int(scores.argmax())]
    assert len(vectors.nearest("rome", count=100)) == 6


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda p: iw.load(p / "nothing.safetensors"), "nothing.safetensors cannot be read"),
        (lambda p: iw.load(p / "junk.safetensors"), "junk.safetensors cannot be read"),
        (lambda p: iw.load(p / "other.safetensors"), "has no card of infwidth; give a file that infwidth.save"),
        (lambda p: iw.load(p / "later.safetensors"), "holds a transformer that cannot be made again"),
        (lambda p: iw.load(p / "wrong.safetensors"), "card.about must be a text, not 5"),
        (
            lambda p: iw.load(p / "torn.safetensors"),
            "holds a mu_limit that cannot be made again .*does not fit the model",
        ),
        (lambda p: iw.save(made("mu_limit"), p / "no" / "x.safetensors"), "cannot be written .*a folder that exists"),
        (lambda p: iw.save(torch.nn.Linear(2, 2), p / "x"), "this is a Linear"),
        (lambda p: iw.save(made("mu_limit"), p / "x", numbers={"a": "much"}), "numbers has what is no number"),
        (lambda p: iw.WordVectors(["a", "a"], np.ones((2, 3))), "there are 2 words, 1 distinct ones, for 2 vectors"),
        (lambda p: iw.WordVectors(["a", "b"], np.eye(2))["c"], "the word 'c' is not known"),
        (lambda p: iw.WordVectors(["a", "b"], np.eye(2)).nearest("a", 0), "count is 0"),
        (lambda p: iw.WordVectors.read(p / "nothing.bin"), "nothing.bin cannot be read"),
        (lambda p: iw.WordVectors.read(p / "junk.safetensors"), "is not in word2vec's binary format"),
    ],
)
def test_what_is_wrong_is_a_sentence(make, sentence, tmp_path):
    def file(name, tensors, card):
        save_file(tensors, tmp_path / name, None if card is None else {"infwidth": json.dumps(card)})

    one = {"U": torch.zeros(1)}
    (tmp_path / "junk.safetensors").write_bytes(b"7 4\njunk")
    file("other.safetensors", one, None)
    file("later.safetensors", one, {"kind": "transformer"})
    file("wrong.safetensors", one, {"kind": "mu_limit", "about": 5})
    file("torn.safetensors", one, {"kind": "mu_limit", "keys": {"inputs": 5, "outputs": 3}})
    with pytest.raises(iw.InfwidthError, match=sentence):
        make(tmp_path)
    assert not list(tmp_path.glob("x*"))

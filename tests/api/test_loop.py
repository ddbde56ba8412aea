"""Training in one call."""

import numpy as np
import pytest
import torch

import infwidth as iw
from tests.api.data import digits, examples
from tests.api.test_models import MAKE, made


def test_the_example_of_the_readme_learns_digits():
    """With no key but the sizes, in a few seconds."""
    (x, y), test = digits()
    limit = iw.pi_limit(inputs=64, outputs=10)
    history = iw.fit(limit, x, y, epochs=4, progress=False)
    assert iw.accuracy(limit, *test) >= 95
    assert len(history.loss) == 4 and history.loss[-1] < 0.5 * history.loss[0] and history.accuracy[-1] > 95
    assert limit.layers[0].rows == 128 + 4 * 1400
    net = iw.sample(limit, width=4096)
    assert iw.accuracy(net, *test) >= 94


@pytest.mark.parametrize(
    "make", [lambda: iw.finite(64, 10, 256), lambda: iw.mu_limit(64, 10), lambda: iw.pi_net(64, 10, 256)]
)
@pytest.mark.parametrize("scale", [1, 1 / 16])
def test_the_defaults_suit_every_kind_and_scale(make, scale):
    (x, y), test = digits()
    net = make()
    iw.fit(net, x * scale, y, epochs=4, progress=False)
    assert iw.accuracy(net, test[0] * scale, test[1]) >= 92


@pytest.mark.parametrize("kind", MAKE)
def test_it_is_sgd(kind):
    """One epoch of one batch, at half its rate where the schedule is linear from there on."""
    net, other, (x, y) = made(kind), made(kind), examples()
    iw.fit(net, x, y, epochs=2, batch=100, learning_rate=0.4, decay=0.1, clip=None, schedule="linear", progress=False)
    optimizer = iw.SGD(other, 0.4, decay=0.1)
    for rate in (0.4, 0.2):
        optimizer.param_groups[0]["lr"] = rate
        torch.nn.functional.cross_entropy(other(x), y).backward()
        optimizer.step()
    torch.testing.assert_close(net(x), other(x))


def test_the_same_seed_is_the_same_training():
    x, y = examples(40)
    nets = [made("pi_limit") for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        iw.fit(net, x, y, epochs=2, batch=8, seed=seed, progress=False)
    assert torch.equal(nets[0](x), nets[1](x)) and not torch.equal(nets[0](x), nets[2](x))


def test_numbers_can_be_learned_and_a_loss_of_ones_own():
    x, _ = examples(60)
    wanted = torch.stack([x[:, 0].abs(), x[:, 1] * x[:, 2], x.sum(1)], 1).numpy()
    history = iw.fit(made("pi_limit"), x, wanted, epochs=30, batch=8, loss="squared_error", progress=False)
    assert history.loss[-1] < 0.2 * history.loss[0] and not history.accuracy
    half = iw.fit(
        made("finite"),
        x,
        wanted,
        epochs=1,
        batch=60,
        loss=lambda f, y: (f - y).square().sum(1).mean() / 2,
        progress=False,
    )
    named = iw.fit(made("finite"), x, wanted, epochs=1, batch=60, loss="squared_error", progress=False)
    assert half.loss == named.loss


def test_labels_under_the_squared_error_are_one_hot_minus_a_half():
    x, y = examples()
    net = made("mu_limit", sigma_v=0.0)  # f = 0
    history = iw.fit(net, x, y, epochs=1, loss="squared_error", progress=False)
    assert history.loss == [pytest.approx(3 * 0.25 / 2)]


def test_what_is_held_out_is_followed_and_projections_are_noted():
    x, y = examples(64)
    limit = made("pi_limit", landmarks="epoch")
    history = iw.fit(limit, x, y, epochs=4, batch=16, held_out=examples(32, seed=1), progress=False)
    assert len(history.held_out) == 4 and all(0 <= value <= 100 for value in history.held_out)
    assert history.notes[-1]["projections_2"] > 0 and limit.layers[0].rows < 8 + 4 * 64
    assert str(history).startswith("4 epochs in ") and "held out" in str(history)
    numbers = iw.fit(
        made("finite"), x, x[:, :3], epochs=1, loss="squared_error", held_out=(x, x[:, :3]), progress=False
    )
    assert numbers.held_out[0] > 0


def test_progress_is_a_bar_on_standard_error(capsys):
    x, y = examples()
    iw.fit(made("finite"), x, y, epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")
    iw.fit(made("finite"), x, y, epochs=1)
    shown = capsys.readouterr()
    assert shown.out == "" and "fit: 100%" in shown.err


def fitted(**keys):
    x, y = examples()
    return lambda: iw.fit(made("finite"), keys.pop("x", x), keys.pop("y", y), progress=False, **keys)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (fitted(x=np.ones((12, 4))), "x has 4 numbers for each example, which the model does not take"),
        (fitted(x=np.ones(12)), r"x has the shape \(12,\); give a matrix, a row for every example."),
        (fitted(x=np.ones((0, 5)), y=[]), r"x has the shape \(0, 5\)"),
        (fitted(x=np.full((12, 5), np.nan)), "x has a number that is not finite in row 0"),
        (fitted(x=np.array([["a"] * 5] * 12)), "x is no array of numbers"),
        (fitted(y=np.zeros(11, int)), "y has 11 entries for 12 examples"),
        (fitted(y=np.full(12, 3)), "y does not fit the model; it must have labels from 0 to 2."),
        (fitted(y=np.full(12, -1)), "labels from 0 to 2"),
        (fitted(y=np.zeros(12)), "y has the type float64 .* give class labels"),
        (fitted(y=np.zeros((12, 2)), loss="squared_error"), "labels of 2 numbers|of 3 numbers each"),
        (fitted(epochs=-1), "epochs is -1; it must be a whole number, at least 0."),
        (fitted(batch=0), "batch is 0"),
        (fitted(learning_rate=0), "learning_rate is 0"),
        (fitted(schedule="cos"), "schedule is 'cos'; choose one of: cosine, linear, constant."),
        (fitted(loss="mse"), "loss is 'mse'; choose one of: cross_entropy, squared_error."),
        (fitted(loss=lambda f, y: f.sum(1)), r"the loss has the shape \(12,\); it must be one number"),
        (fitted(learning_rate=1e200, clip=None, epochs=3), r"training has diverged, .*or clip its updates"),
        (fitted(held_out=(np.ones((2, 5)), [0])), "held_out y has 1 entries for 2 examples"),
        (lambda: iw.fit(torch.nn.Linear(5, 3), *examples()), "this is a Linear"),
        (lambda: iw.accuracy(made("finite"), examples()[0], np.ones((12, 3))), "an accuracy is of class labels"),
    ],
)
def test_what_is_wrong_is_a_sentence(make, sentence):
    with pytest.raises(iw.InfwidthError, match=sentence):
        make()

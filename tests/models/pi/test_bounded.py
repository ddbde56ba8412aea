"""A pi-limit whose rows are projected onto landmarks: how many stay, which, what is recorded, what it goes with."""

import copy
from dataclasses import replace

import pytest
import torch

from infwidth.errors import CheckpointError
from infwidth.models.cost import Shape
from infwidth.models.family import config_of, largest_fitting
from infwidth.models.mlp import Factors
from infwidth.models.pi import pi_limit, sampled
from infwidth.models.pi.bounded import RECORDED, TOLERANCE
from infwidth.tasks.losses import cross_entropy_cotangent

D, R, K, IMAGES, BATCH = 7, 4, 3, 20, 5
FACTORS = Factors(1.3, 0.7, 0.4, 0.9, 0.5, 2.0, 0.6)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def fresh(landmarks=None, older=1.0, depth=2, dtype=torch.float64, storage=None):
    return pi_limit(D, K, R, depth, FACTORS, False, True, generator(0), dtype, storage, landmarks, older)


def images(n=IMAGES, seed=7, dtype=torch.float64):
    return torch.randn(n, D, generator=generator(seed), dtype=torch.float64).to(dtype)


def epoch(net, decay=0.01, end=True, held_out=None):
    """Four steps over all images, and the end of the epoch; returns what is said of it."""
    x, y = images(dtype=net.A1.dtype), torch.arange(IMAGES) % K
    for i in range(0, IMAGES, BATCH):
        outputs, pullback = net.linearized(x[i : i + BATCH])
        net.apply_update(pullback(cross_entropy_cotangent(outputs, y[i : i + BATCH])), 0.5, decay)
    return net.end_of_epoch(held_out) if end else {}


def rows(net):
    return [layer.rows for layer in net.layers]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("infwidth.models.pi.rows.BLOCK", 6)


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_after_an_epoch_its_rows_and_the_initial_ones_are_left(depth):
    net = fresh("epoch", depth=depth)
    initial = [layer.joined() for layer in net.layers]
    for _ in range(3):
        epoch(net, decay=0.0)
        assert rows(net) == [R + IMAGES] * depth
        for layer, before in zip(net.layers, initial, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(layer.part(0, R), before, strict=True))


@pytest.mark.filterwarnings("ignore:projected onto")
def test_projections_wait_for_as_many_older_rows_as_they_are_worth():
    net, counts = fresh("epoch", older=2.0), []
    for _ in range(6):
        epoch(net)
        counts.append((rows(net)[0] - R) // IMAGES)
    assert counts == [1, 2, 1, 2, 1, 2]


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("landmarks, older", [(7, 1.0), (7, 0.5), (10, 2.0)])
def test_a_number_of_landmarks_bounds_the_rows_at_every_step(landmarks, older):
    net, most, x = fresh(landmarks, older), 0, images(100)
    for i in range(0, 100, BATCH):
        newest = net.gradient(x[i : i + BATCH], torch.full((BATCH, K), 0.1, dtype=torch.float64))
        net.apply_update(newest, 0.1)
        assert torch.equal(net.layers[0].joined()[1][-BATCH:], newest.rows[2][1])
        most = max(most, *rows(net))
    assert landmarks * (1 + older) <= most - R < landmarks * (1 + older) + BATCH
    assert net.end_of_epoch(None)["projections_2"] == net.bounded.record[0, 0] > 1


def test_without_landmarks_nothing_is_projected_and_only_rows_are_counted():
    net = fresh()
    once, twice = ({f"rows_{l}": float(R + n * IMAGES) for l in (2, 3)} for n in (1, 2))
    assert [epoch(net), epoch(net)] == [once, twice] and rows(net) == [R + 2 * IMAGES] * 2
    assert not any(name.startswith("bounded") for name in net.state_dict())


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("landmarks", ["epoch", IMAGES])
def test_the_function_is_near_the_exact_one(landmarks):
    """As landmarks cover all images; onto half as many it is farther off."""
    exact, bounded, half = fresh(), fresh(landmarks), fresh(IMAGES // 2)
    for _ in range(3):
        for net in (exact, bounded, half):
            epoch(net)
    x = images(40, seed=8)
    near, far = ((net(x) - exact(x)).norm() / exact(x).norm() for net in (bounded, half))
    assert 1e-6 < near < 0.1 and far > 2 * near


@pytest.mark.filterwarnings("ignore:projected onto")
def test_what_is_said_is_what_has_happened():
    net, x = fresh("epoch"), images(30, seed=8)
    assert epoch(net, held_out=lambda: x).keys() == {"rows_2", "rows_3"}
    epoch(net, end=False)
    features = net.traced(x, 3, keep=False)[1]
    layers = copy.deepcopy(net.layers)
    said = net.end_of_epoch(lambda: x)
    assert said.keys() == {f"{name}_{l}" for name in ("rows", *RECORDED) for l in (2, 3)}
    for l, (unit, s, _) in enumerate(features, start=2):
        before, after = (which[l - 2].forward(unit, s)[0] for which in (layers, net.layers))
        change = ((after - before).norm() / before.norm()).item()
        assert said[f"change_{l}"] == pytest.approx(change, rel=1e-9) and change > 1e-6
        assert change < said[f"bound_{l}"]
        assert said[f"error_sum_{l}"] == said[f"error_{l}"] > 0
        assert 0 < said[f"relative_error_{l}"] < 1
    again = epoch(net, decay=0.01, held_out=lambda: x)
    for l in (2, 3):
        left = said[f"error_sum_{l}"] * (1 - 0.5 * 0.01) ** (IMAGES // BATCH)
        assert again[f"projections_{l}"] == 2
        assert again[f"error_sum_{l}"] == pytest.approx(left + again[f"error_{l}"])


def test_a_change_beyond_the_tolerance_warns():
    net, x = fresh(2), images(30, seed=8)
    with pytest.warns(
        UserWarning, match=rf"projected onto 2 landmarks, layer [23] .*more than {100 * TOLERANCE:.0f} %"
    ):
        epoch(net, held_out=lambda: x)


@pytest.mark.filterwarnings("ignore:projected onto")
def test_a_frozen_readout_keeps_its_row():
    factors = Factors(1.2, 0.8, 0.5, 0.7, 0.6, 0.0, 0.9)
    net = pi_limit(D, K, R, 2, factors, True, False, generator(0), torch.float64, None, "epoch")
    for _ in range(3):
        epoch(net)
    assert rows(net) == [R + IMAGES, 1]


def test_what_has_diverged_is_left_to_whoever_watches_the_loss():
    net = fresh("epoch")
    epoch(net)
    next(net.layers[0].tiles())[0][R:].fill_(float("nan"))
    epoch(net)
    assert rows(net)[0] == R + 2 * IMAGES


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("landmarks", ["epoch", 13])
def test_a_snapshot_outlives_projections(landmarks):
    net, x = fresh(landmarks), images(30, seed=8)
    for _ in range(2):
        epoch(net)
    kept, before, record = net.snapshot(), net(x), net.bounded.record.clone()
    for _ in range(3):
        epoch(net)
    assert not torch.equal(net(x), before)
    net.restore(kept)
    assert torch.equal(net(x), before) and torch.equal(net.bounded.record, record)


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("landmarks", ["epoch", 13])
def test_a_loaded_state_goes_on_as_the_one_that_was_saved(landmarks):
    """Also from the middle of an epoch, whose first rows the state has to know."""
    net, x = fresh(landmarks), images(30, seed=8)
    epoch(net)
    epoch(net, end=False)
    other = fresh(landmarks)
    other.load_state({name: value.clone() for name, value in net.state().items()})
    assert net.end_of_epoch(lambda: x) == other.end_of_epoch(lambda: x)
    assert epoch(net, held_out=lambda: x) == epoch(other, held_out=lambda: x)
    assert torch.equal(net(x), other(x)) and torch.equal(copy.deepcopy(net)(x), net(x))


@pytest.mark.filterwarnings("ignore:projected onto")
def test_the_rows_of_a_bounded_limit_are_a_function_that_any_limit_takes_over():
    """To draw networks from it, or to look at it; what bounded it is needed only where it goes on."""
    net, exact, x = fresh("epoch"), fresh(), images(30, seed=8)
    for _ in range(2):
        epoch(net)
    exact.load_state(net.state())
    assert torch.equal(exact(x), net(x))
    with pytest.raises(CheckpointError, match="bounded.epoch_start is missing"):
        net.load_state(exact.state())
    wide = sampled(net, 2_000, generator(1))
    assert (wide(x) - net(x)).norm() < 0.3 * net(x).norm()
    unit = net.unit_features(x)
    assert torch.equal(unit, exact.unit_features(x))
    assert torch.equal(net.feature_kernel(unit, unit), exact.feature_kernel(unit, unit))


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("dtype, storage", [(torch.float32, None), (torch.float32, torch.bfloat16)])
def test_in_less_precision_it_stays_near(dtype, storage):
    wide, narrow, x = fresh("epoch"), fresh("epoch", dtype=dtype, storage=storage), images(30, seed=8)
    narrow.load_state(wide.state())
    for net in (wide, narrow):
        for _ in range(3):
            epoch(net)
    assert (narrow(x.to(dtype)) - wide(x)).norm() < (0.1 if storage else 1e-3) * wide(x).norm()
    assert narrow.double()(x).dtype == torch.float64 and epoch(narrow)["projections_2"] == 3


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("which", ["all", "hidden", "readout"])
def test_it_adapts_to_episodes_as_before(which):
    net = fresh(13)
    support, query = images(2 * 6).reshape(2, 6, D), images(2 * 4, seed=9).reshape(2, 4, D)
    y, asked = torch.arange(6).expand(2, -1) % K, torch.arange(4).expand(2, -1) % K
    for _ in range(12):
        adapted = net.adapted(support, lambda f: cross_entropy_cotangent(f, y), 0.3, 2, False, which)
        outputs, pullback = adapted.linearized(query)
        net.apply_update(pullback(cross_entropy_cotangent(outputs, asked)), 0.2)
    assert max(rows(net)) <= R + 2 * 13 + 8 and net.bounded.record[:, 0].min() > 3


def keys(**more):
    sizes = {"depth": 2, "rank": 400, "alpha_1": 1, "alpha_out": 1, "beta": 1}
    return config_of({"name": "pi_limit", **sizes, **more})


def needed(config, shape):
    """Bytes of the phase that takes most, the best state so far beside it."""
    found = config.footprint(shape, None, torch.float32)
    return found.held + found.snapshot + max(found.phases.values())


def test_memory_and_work_are_predicted_within_bounds():
    def long(epochs, examples=10_000):
        return Shape(3072, 10, False, examples, 32, epochs * examples // 32, 0, examples // 32)

    exact, bounded, rare = keys(), keys(landmarks="epoch"), keys(landmarks="epoch", older_rows=4)
    for which in (bounded, rare):
        held = [config.footprint(long(1), None, torch.float32).held for config in (which, exact)]
        assert held[0] == held[1]
    for what in (needed, lambda c, s: c.work(s, None, torch.float32).flops):
        assert what(exact, long(100)) > 4 * what(bounded, long(100))
    assert needed(bounded, long(100)) == needed(bounded, long(10))
    assert needed(rare, long(100)) > needed(bounded, long(100))
    rows = 20_416 * (800 + 410 + 2)  # there, and in the best state so far
    at_least = 4 * (9984**2 + 2 * rows + 4 * 32 * 20_416 + 4 * 3072 * 400)
    assert 1 < needed(bounded, long(10)) / at_least < 1.6
    # Twice the epochs are twice the work, and not four times as for the limit that keeps all rows.
    assert (
        1.9
        < bounded.work(long(100), None, torch.float32).flops / bounded.work(long(50), None, torch.float32).flops
        < 2.2
    )
    assert needed(keys(landmarks=9984), long(10)) == needed(bounded, long(10))


def test_how_many_older_rows_is_no_part_of_the_id_of_an_exact_limit():
    assert keys().idle() == ("older_rows",) and keys(landmarks=100).idle() == ()


@pytest.mark.parametrize(
    "landmarks, part", [(None, "steps"), ("epoch", "examples"), (5000, "inputs")], ids=["exact", "epoch", "number"]
)
def test_what_is_to_be_lowered_where_memory_is_short_is_what_it_grows_with(landmarks, part):
    shape, available = Shape(3072, 10, False, 10_000, 32, 50 * 313, 0, 313), 60_000_000
    config = keys(landmarks=landmarks)
    assert config.grows_with() == part
    largest = largest_fitting(part, shape, available, lambda shape: needed(config, shape))
    if landmarks == "epoch":
        fits, not_yet = (needed(config, replace(shape, examples=n)) for n in (largest, largest + 200))
        assert 100 < largest < 10_000 and fits <= available < not_yet

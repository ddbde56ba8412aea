"""A meta-step of the pi-limit beside an ordinary training step on as many examples.

The meta-step is measured beside itself episode by episode, too.

    python benchmarks/maml_pi.py [--rows 20000] [--rounds 9] [--json FILE]

Eight episodes (5-way 1-shot), r 400, depth 2, float32, M rows in every growing layer; the readout alone adapts,
second order. All take turns; medians over rounds.
"""

import statistics
import time

import torch
from common import heading, options, written
from pi_limit import RANK, limit_of

from infwidth.models.mlp import Factors
from infwidth.models.pi import PiLimit
from infwidth.models.pi.growing import GrowingLayer
from infwidth.seeding import stream
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.training.clipping import clipped

EPISODES, WAYS, INPUTS = 8, 5, 784


def few_shot(rows):
    """A pi-limit of so many rows with a readout that is frozen at zero."""
    net = limit_of(rows, "float32")
    A1 = torch.randn(INPUTS, RANK, generator=stream("A1")) / INPUTS**0.5
    readout = GrowingLayer(torch.zeros(1, WAYS), torch.eye(1, RANK), torch.zeros(1), torch.float32)
    biases = [torch.zeros(RANK), torch.zeros(RANK), torch.zeros(WAYS)]
    return PiLimit(
        A1, [net.layers[0], readout], biases, Factors(1.0, 1.0, 1.414, 0.0, 0.4, 0.0, 1.0), readout_in_norm=False
    )


def applied(net, update):
    update, _ = clipped(update, 0.1)
    net.apply_update(update, 1e-3)
    for layer in net.layers:  # M stays what it is
        layer.drop(len(update.rows[2][0]) if layer is net.layers[0] else 0)


def meta_update(net, xs, ys, xq, yq):
    adapted = net.adapted(xs, lambda f: cross_entropy_cotangent(f, ys), 0.35, 1, True, "readout")
    outputs, pullback = adapted.linearized(xq)
    return pullback(cross_entropy_cotangent(outputs, yq))


def main():
    parser = options(__doc__, rounds=9)
    parser.add_argument("--rows", type=int, default=20_000)
    arguments = parser.parse_args()
    g = stream("episodes")
    xs, xq = (torch.rand(EPISODES, WAYS, INPUTS, generator=g) for _ in range(2))
    y = torch.arange(WAYS).expand(EPISODES, -1)
    net = few_shot(arguments.rows)
    plain = limit_of(arguments.rows, "float32")
    x = torch.randn(2 * EPISODES * WAYS, 3072, generator=g)
    labels = torch.arange(len(x)) % 10

    def together():
        applied(net, meta_update(net, xs, y, xq, y))

    def one_by_one():
        parts = [meta_update(net, xs[i : i + 1], y[i : i + 1], xq[i : i + 1], y[i : i + 1]) for i in range(EPISODES)]
        joined = parts[0]
        joined.first = sum(p.first for p in parts)
        joined.rows = {l: tuple(torch.cat([p.rows[l][k] for p in parts]) for k in (0, 1)) for l in joined.rows}
        joined.biases = {l: sum(p.biases[l] for p in parts) for l in joined.biases}
        applied(net, joined)

    def ordinary():
        outputs, pullback = plain.linearized(x)
        update, _ = clipped(pullback(cross_entropy_cotangent(outputs, labels)), 0.1)
        plain.apply_update(update, 1e-3)
        for layer in plain.layers:
            layer.drop(len(x))

    works, times = {"meta_step": together, "episode_by_episode": one_by_one, "ordinary_step": ordinary}, {}
    for work in works.values():
        work()
    for _ in range(arguments.rounds):
        for name, work in works.items():
            begin = time.perf_counter()
            work()
            times.setdefault(name, []).append(time.perf_counter() - begin)
    median = {name: statistics.median(series) for name, series in times.items()}
    ratios = {
        name: statistics.median(t / m for t, m in zip(times[name], times["meta_step"], strict=True))
        for name in ("episode_by_episode", "ordinary_step")
    }
    found = {**heading(arguments.rounds), "rows": arguments.rows, "seconds": median, "over_meta_step": ratios}
    print(
        f"M = {arguments.rows}: a meta-step of {EPISODES} episodes {1e3 * median['meta_step']:.1f} ms: "
        f"{1 / ratios['ordinary_step']:.2f} times an ordinary step on its {len(x)} examples "
        f"({1e3 * median['ordinary_step']:.1f} ms); "
        f"episode by episode {1e3 * median['episode_by_episode']:.1f} ms, "
        f"{ratios['episode_by_episode']:.1f} times as long"
    )
    written(found, arguments.json)


if __name__ == "__main__":
    main()

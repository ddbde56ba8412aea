"""MAML on the linear network: meta-batches and episodes per second beside learn2learn, in the same run, as ratios.

    python benchmarks/maml.py [--rounds 7] [--json FILE]

Both get the same preloaded episodes (5-way 1-shot, 1 query a class, 784 inputs, first order, float32). Implementations
take turns, round by round, so that a change of the machine's speed meets all of them; medians over rounds are reported.
"""

import copy
import itertools
import statistics
import time

import torch
from common import heading, options, written

from infwidth.models import linear
from infwidth.parametrization import named
from infwidth.seeding import stream
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.tasks.maml.episodes import Pool, Shape, assemble, draw, vectorised
from infwidth.tasks.maml.learn2learn_episodes import _learn2learn, task_dataset
from infwidth.training.clipping import clipped

D, K, EPISODES, RATE, CLIP, META_RATE = 784, 5, 32, 0.4, 0.5, 0.1
SHAPE = Shape(ways=K, shots=1, queries=1)


def network(width):
    return linear.finite(width, D, K, 1.0, 1 / 32, 1.0, named("mup", 1), stream("benchmark", width))


def ours(net, batches):
    """A whole meta-step as the trainer does it: adapt, differentiate, clip, apply."""

    def step():
        b = next(batches)
        adapted = net.adapted(b.support_x, lambda f: cross_entropy_cotangent(f, b.support_y), RATE, 1)
        outputs, pullback = adapted.linearized(b.query_x)
        update, _ = clipped(pullback(cross_entropy_cotangent(outputs, b.query_y)), CLIP)
        net.apply_update(update, META_RATE)

    return step


def products(net, batches):
    """The matrix products of that meta-step alone, of the same shapes, in the same order."""
    V = net.V.detach()
    V_each = V.expand(EPISODES, -1, -1)

    @torch.no_grad()
    def step():
        b = next(batches)
        S, Q = b.support_x, b.query_x
        h = torch.nn.functional.linear(S, net.U, net.b)
        torch.bmm(S, S.mT)
        delta = torch.matmul(h, V.mT)
        E, V1 = torch.bmm(delta, V_each), torch.bmm(delta.mT, h)
        hq = torch.nn.functional.linear(Q, net.U, net.b)
        torch.bmm(torch.bmm(Q, S.mT), E)
        delta = torch.bmm(hq, V1.mT)
        rows = torch.bmm(delta, V1)
        delta.flatten(0, 1).mT @ hq.flatten(0, 1)
        rows.flatten(0, 1).mT @ Q.flatten(0, 1)

    return step


class Plain(torch.nn.Module):
    """The same network as a plain module."""

    def __init__(self, net):
        super().__init__()
        self.U, self.V, self.b = (torch.nn.Parameter(p.detach().clone()) for p in (net.U, net.V, net.b))

    def forward(self, x):
        return torch.nn.functional.linear(x, self.U, self.b) @ self.V.T


def learn2learns(net, batches):
    """The usual learn2learn loop: clone, adapt, backward, per episode; then clip and step."""
    module = Plain(net)
    maml = _learn2learn().algorithms.MAML(module, lr=RATE, first_order=True)
    optimizer = torch.optim.SGD(module.parameters(), lr=META_RATE)

    def step():
        b = next(batches)
        optimizer.zero_grad()
        for t in range(EPISODES):
            learner = maml.clone()
            learner.adapt(torch.nn.functional.cross_entropy(learner(b.support_x[t]), b.support_y[t]))
            torch.nn.functional.cross_entropy(learner(b.query_x[t]), b.query_y[t]).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP)
        optimizer.step()

    return step


def rounds(steps, number, seconds):
    """Median seconds per call of each named step, timed in turns of about ``seconds`` seconds."""
    calls, times = {}, {name: [] for name in steps}
    for name, step in steps.items():
        step()
        started = time.perf_counter()
        step()
        calls[name] = max(1, int(seconds / (time.perf_counter() - started)))
    for _ in range(number):
        for name, step in steps.items():
            started = time.perf_counter()
            for _ in range(calls[name]):
                step()
            times[name].append((time.perf_counter() - started) / calls[name])
    return {name: statistics.median(t) for name, t in times.items()}


def meta_batches(pool, widths, number):
    found = {}
    for width in widths:
        batches = list(vectorised(pool, SHAPE, 20 * EPISODES, EPISODES, stream("benchmark"), torch.float32))
        net = network(width)
        steps = {
            "ours": ours(copy.deepcopy(net), itertools.cycle(batches)),
            "products": products(net, itertools.cycle(batches)),
        }
        if width > D + K:
            reduced = linear.reduced(net)
            steps |= {
                "ours, change of basis": ours(reduced, itertools.cycle(batches)),
                "width 789": ours(network(D + K), itertools.cycle(batches)),
            }
        if width <= 2048:
            steps["learn2learn"] = learn2learns(net, itertools.cycle(batches))
        found[width] = rounds(steps, number, 0.4)
    return found


def sampling(pool, number):
    """Seconds per meta-batch of 32 episodes.

    Indices and images, ours and learn2learn's TaskDataset; and our indices alone.
    """
    dataset = task_dataset(pool, SHAPE, torch.float32)
    preloaded = task_dataset(Pool(pool.pixels.float() / 255, pool.name), SHAPE, torch.float32)
    generator = stream("sampling")
    epoch = 100

    def whole():
        index = draw(pool, SHAPE, EPISODES * epoch, generator)
        for i in range(0, len(index), EPISODES):
            assemble(pool, SHAPE, index[i : i + EPISODES], torch.float32)

    steps = {
        "ours": whole,
        "ours, indices only": lambda: draw(pool, SHAPE, EPISODES * epoch, generator),
        "learn2learn": lambda: [dataset.sample() for _ in range(EPISODES)],
        "learn2learn, float images": lambda: [preloaded.sample() for _ in range(EPISODES)],
    }
    found = rounds(steps, number, 0.4)
    return {name: s / epoch if name.startswith("ours") else s for name, s in found.items()}


def main():
    parser = options(__doc__, rounds=7)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128, 512, 2048, 8192])
    arguments = parser.parse_args()
    pool = Pool((torch.rand(4112, 20, D, generator=stream("pool")) < 0.15).to(torch.uint8) * 255, "train")
    found = heading(arguments.rounds)
    print("meta-batch of 32 episodes, first order, float32 (milliseconds)")
    found["meta_batch_seconds"] = meta_batches(pool, arguments.widths, arguments.rounds)
    for width, times in found["meta_batch_seconds"].items():
        best = times.get("ours, change of basis", times["ours"])
        line = f"  width {width:5d}: " + ", ".join(f"{name} {1e3 * t:.2f}" for name, t in times.items())
        line += f" | ours/products {times['ours'] / times['products']:.2f}"
        if "learn2learn" in times:
            line += f", learn2learn/ours {times['learn2learn'] / best:.1f}"
        if "width 789" in times:
            line += (
                f", with the change of basis/width 789 {best / times['width 789']:.2f}, "
                f"without/with {times['ours'] / best:.1f}"
            )
        print(line + f" | {EPISODES / best:.0f} episodes/s")
    print("\nsampling, a meta-batch of 32 episodes (milliseconds)")
    found["sampling_seconds"] = times = sampling(pool, arguments.rounds)
    fastest = min(t for name, t in times.items() if name.startswith("learn2learn"))
    print("  " + ", ".join(f"{name} {1e3 * t:.3f}" for name, t in times.items()))
    print(
        f"  learn2learn's fastest/ours {fastest / times['ours']:.1f}; "
        f"{EPISODES / times['ours']:.0f} episodes/s with images, "
        f"{EPISODES / times['ours, indices only']:.0f} as indices"
    )
    written(found, arguments.json)


if __name__ == "__main__":
    main()

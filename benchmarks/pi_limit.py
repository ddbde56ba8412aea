"""The pi-limit's training step beside one matrix product of its arrays, and its memory beside theirs.

    python benchmarks/pi_limit.py [--rows 12500 25000 50000] [--rounds 7] [--json FILE]

A step is forward, backward, clipping and appending, at M rows in every growing layer (r 400, depth 2, 10 classes). The
unit is one product of (b, r) and (r, M) in float32, the mean over the step's arrays, the faster of two layouts; a step
needs six. Both take turns, medians over rounds are reported. Each case runs in a process of its own, whose peak memory
is its own.

    python benchmarks/pi_limit.py --storage-error

trains the pi-limit on digits with the arrays stored in less precision, from the same seed, and compares what comes out.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
from common import heading, options, trained_step, written

from infwidth.data.catalog import obtain
from infwidth.models.cost import Shape
from infwidth.models.mlp import Factors
from infwidth.models.pi import PiLimit
from infwidth.models.pi.growing import GrowingLayer, sphere
from infwidth.ranks import ALONE
from infwidth.runs.compose import composed
from infwidth.runs.spec import specified
from infwidth.seeding import stream
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.training.clipping import clipped
from infwidth.training.peak import Peak

INPUTS, RANK, OUTPUTS, DEPTH = 3072, 400, 10, 2
STORAGES = ("float32", "bfloat16")


def limit_of(rows, storage, ranks=ALONE):
    """A pi-limit with so many rows in every growing layer, made block by block; ranks: to whom they are dealt out."""
    g = stream("benchmark")
    layers = []
    for outputs in (*[RANK] * (DEPTH - 1), OUTPUTS):
        layer = None
        for done in range(0, rows, 512):  # by parts, so that making them leaves no memory behind
            n = min(512, rows - done)
            part = torch.randn(n, outputs, generator=g) / rows**0.5, sphere(n, RANK, g, torch.float32), torch.ones(n)
            if layer is None:
                layer = GrowingLayer(*part, torch.float32, getattr(torch, storage), ranks=ranks)
            if done:
                layer.append(*part)
        layers.append(layer)
    A1 = torch.randn(INPUTS, RANK, generator=g) / INPUTS**0.5
    biases = [torch.zeros(RANK if l <= DEPTH else OUTPUTS) for l in range(1, DEPTH + 2)]
    return PiLimit(A1, layers, biases, Factors(1.0, 0.5, 0.5, 0.5, 0.1, 4.0, 0.5))


def step(net, x, y):
    outputs, pullback = net.linearized(x)
    update, _ = clipped(pullback(cross_entropy_cotangent(outputs, y)), 0.4, "parameter")
    net.apply_update(update, 1e-3, 1e-5)


def bytes_of(net):
    return sum(t.numel() * t.element_size() for t in net.state().values())


def case(rows, batch, storage, rounds):
    """Medians of a step and of the unit in seconds, and the peak memory of the steps beside that of the arrays."""
    x, y = torch.randn(batch, INPUTS, generator=stream("x")), torch.arange(batch) % OUTPUTS
    step(limit_of(100, storage), x, y)  # what the libraries take for themselves is there before
    before = Peak(torch.device("cpu")).before
    net = limit_of(rows, storage)
    arrays = bytes_of(net)
    for _ in range(3):
        step(net, x, y)
    steps = Peak(torch.device("cpu"))
    for _ in range(3):
        step(net, x, y)
    peak = steps.bytes
    g = torch.randn(batch, RANK, generator=stream("g"))
    # All (M, r) arrays in turn, as a step meets them: one alone would stay in a cache that the three do not fit.
    arrays_of = [
        torch.cat([t[i] for t in layer.tiles()]).float()
        for layer in net.layers
        for i in (0, 1)
        if i or layer.outputs == RANK
    ]
    turned = [a.mT.contiguous() for a in arrays_of]
    layouts = [lambda: [g @ a.mT for a in arrays_of], lambda: [g @ a for a in turned]]
    times = {"step": [], "unit": []}
    n = max(2, 64 // batch)
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(n):
            step(net, x, y)
        times["step"].append((time.perf_counter() - begin) / n)
        fastest = []
        for product in layouts:
            product()
            begin = time.perf_counter()
            for _ in range(n):
                product()
            fastest.append((time.perf_counter() - begin) / (n * len(arrays_of)))
        times["unit"].append(min(fastest))
    read = 2 * sum(t.numel() * t.element_size() for layer in net.layers for A, B, _ in layer.tiles() for t in (A, B))
    seconds, unit = statistics.median(times["step"]), statistics.median(times["unit"])
    return {
        "rows": rows,
        "batch": batch,
        "storage": storage,
        "step_seconds": seconds,
        "unit_seconds": unit,
        "units": statistics.median(s / u for s, u in zip(times["step"], times["unit"], strict=True)),
        "array_bytes": arrays,
        "peak_over_arrays": (peak - before) / arrays,
        "gigabytes_per_second": read / seconds / 1e9,
    }


def storage_error(epochs):
    """Accuracy, and test outputs beside float32's, of whole training runs on digits."""
    found, reference = [], None
    for storage in ("float32", "bfloat16", "float16"):
        config = composed(
            "train",
            [
                "task=cifar10",
                "model=pi_limit",
                "scale=demo",
                f"trainer.epochs={epochs}",
                "model.rank=64",
                f"model.storage={storage}",
            ],
        )
        spec, cpu = specified(config), torch.device("cpu")
        task = spec.build_task(obtain(config["data"]), cpu)
        net = spec.build_model(Shape(task.inputs, task.outputs), cpu)
        for epoch in range(epochs):
            for batch in task.batches(epoch):
                trained_step(net, task, batch, config["trainer"])
        outputs = net.outputs(task.x["test"])
        reference = outputs if reference is None else reference
        centred = reference - reference.mean(1, keepdim=True)
        found.append(
            {
                "storage": storage,
                "rows": net.layers[0].rows,
                "accuracy": task.evaluate(net, "test").metrics["accuracy"],
                "relative_error": ((outputs - reference).norm() / centred.norm()).item(),
                "same_predictions": 100 * (outputs.argmax(1) == reference.argmax(1)).double().mean().item(),
            }
        )
    return found


def main():
    parser = options(__doc__, rounds=7)
    parser.add_argument("--rows", type=int, nargs="+", default=[12_500, 25_000, 50_000])
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--storage-error", action="store_true")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        rows, batch, storage = arguments.case
        print(json.dumps(case(int(rows), int(batch), storage, arguments.rounds)))
        return
    found = heading(arguments.rounds)
    if arguments.storage_error:
        found["storage_error"] = storage_error(20)
        for f in found["storage_error"]:
            print(
                f"{f['storage']:>8}, {f['rows']} rows: accuracy {f['accuracy']:.2f} %, outputs off by "
                f"{100 * f['relative_error']:.2f} %, {f['same_predictions']:.1f} % of predictions the same"
            )
    else:
        found["steps"] = []
        for storage in STORAGES:
            for batch in arguments.batches:
                for rows in arguments.rows:
                    command = [
                        sys.executable,
                        __file__,
                        "--rounds",
                        str(arguments.rounds),
                        "--case",
                        str(rows),
                        str(batch),
                        storage,
                    ]
                    f = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                    found["steps"].append(f)
                    print(
                        f"M {rows:>6}, batch {batch:>2}, {storage:>8}: a step {1e3 * f['step_seconds']:6.1f} ms = "
                        f"{f['units']:.1f} units of {1e3 * f['unit_seconds']:.2f} ms, arrays read at "
                        f"{f['gigabytes_per_second']:.0f} GB/s, peak memory {f['peak_over_arrays']:.2f} times the "
                        f"arrays' {f['array_bytes'] / 1e6:.0f} MB",
                        flush=True,
                    )
    written(found, arguments.json)


if __name__ == "__main__":
    main()

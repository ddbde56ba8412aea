"""Kernel matrices of deep ReLU networks beside the product X X^T alone, and beside neural-tangents.

    python benchmarks/kernels.py [--images 10000] [--rounds 5] [--peer PYTHON] [--json FILE]

Our matrices compute one triangle; the product is the full one. Depth 2, 3072 inputs, float32.
neural-tangents needs an old jax, so it lives in an environment of its own, whose interpreter is PYTHON;
it and ours take turns on its (smaller) number of images:

    python -m venv peer && peer/bin/pip install "jax<0.5" "jaxlib<0.5" neural-tangents
"""

import json
import statistics
import subprocess
import time

import torch
from common import heading, options, written

from infwidth import ridge
from infwidth.models.kernel import DeepKernel
from infwidth.seeding import stream

INPUTS = 3072
KERNELS = {
    "NNGP": DeepKernel(2),
    "NTK": DeepKernel(2, tangent=True),
    "NTK as published": DeepKernel(2, tangent=True, published=True),
}
PEER_IMAGES = 2000

PEER = """
import json, sys, time
import jax, numpy as np
from neural_tangents import stax
n, rounds = int(sys.argv[1]), int(sys.argv[2])
_, _, kernel = stax.serial(
    stax.Dense(64, 1.0, None), stax.Relu(), stax.Dense(64, 1.0, None), stax.Relu(), stax.Dense(1, 1.0, None)
)
kernel = jax.jit(kernel, static_argnames="get")
x = np.random.default_rng(0).standard_normal((n, 3072)).astype(np.float32)
found = {}
for get in ("nngp", "ntk"):
    kernel(x, None, get=get).block_until_ready()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        kernel(x, None, get=get).block_until_ready()
        times.append(time.perf_counter() - begin)
    found[get] = sorted(times)[len(times) // 2]
print(json.dumps(found))
"""


def matrix_of(kernel, x):
    rows, scales = kernel.prepared(x)
    return ridge.matrix(
        lambda i, j: kernel.tile(rows[i] @ rows[j].mT, [s[i] for s in scales], [s[j] for s in scales]), len(x), x
    )


def timed(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main():
    parser = options(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--peer", help="the interpreter of an environment with neural-tangents")
    arguments = parser.parse_args()
    found = {**heading(arguments.rounds), "images": arguments.images}
    x = torch.randn(arguments.images, INPUTS, generator=stream("benchmark"))
    works = {"X X^T": lambda: x @ x.mT} | {name: (lambda k=k: matrix_of(k, x)) for name, k in KERNELS.items()}
    times = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(arguments.rounds):
        for name, work in works.items():
            times[name].append(timed(work))
    for name, series in times.items():
        ratio = statistics.median(s / u for s, u in zip(series, times["X X^T"], strict=True))
        found[name] = {"seconds": statistics.median(series), "ratio": ratio}
        print(f"{name:>17}: {statistics.median(series):.2f} s, {ratio:.2f} times the product X X^T")
    if arguments.peer:
        small = x[:PEER_IMAGES]
        theirs = json.loads(
            subprocess.run(
                [arguments.peer, "-c", PEER, str(PEER_IMAGES), str(arguments.rounds)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        found["neural_tangents"] = {}
        for name, get in (("NNGP", "nngp"), ("NTK", "ntk")):
            matrix_of(KERNELS[name], small)
            ours = statistics.median(
                timed(lambda name=name: matrix_of(KERNELS[name], small)) for _ in range(arguments.rounds)
            )
            found["neural_tangents"][name] = {"images": PEER_IMAGES, "ours_seconds": ours, "seconds": theirs[get]}
            print(
                f"{name:>17} on {PEER_IMAGES} images: {ours:.3f} s, "
                f"neural-tangents {theirs[get]:.3f} s: {theirs[get] / ours:.1f} times"
            )
    written(found, arguments.json)


if __name__ == "__main__":
    main()

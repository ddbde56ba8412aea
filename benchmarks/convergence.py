"""Finite pi-nets beside the pi-limit that they are drawn from, before and after training on digits: the distance against the width.

    python benchmarks/convergence.py [--draws 8] [--out results/benchmarks/pi_convergence]      (writes .json, .png and .svg)

All are trained on the same minibatches with the same hyperparameters, rank 32, depth 2. The distance is the root mean square of the
difference of test outputs over draws, beside that of the limit's own movement; it falls as width^(-1/2).
"""

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from common import trained_step, written

from infwidth.command import composed
from infwidth.data.catalog import obtain
from infwidth.models import build_model
from infwidth.models.configs import Shape
from infwidth.models.pi_net import sampled
from infwidth.progress import bar
from infwidth.reporting.figures import COLOURS, STYLE
from infwidth.seeding import stream
from infwidth.tasks import build_task
from infwidth.training import provenance

WIDTHS = [128, 256, 512, 1024, 2048, 4096]


def limit_of(config, task):
    return build_model(config["model"], config["parametrization"], Shape(task.inputs, task.outputs), stream(0, "model"))


def trained(net, config, task, marks):
    """Test outputs of a net after each of ``marks`` steps."""
    found, step = [], 0
    batches = (batch for epoch in range(100) for batch in task.batches(epoch))
    while True:
        if step in marks:
            with torch.no_grad():
                found.append(net(task.x["test"]).detach())
        if step == max(marks):
            return torch.stack(found)
        trained_step(net, task, next(batches), config["trainer"])
        step += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--out", default="results/benchmarks/pi_convergence")
    arguments = parser.parse_args()
    config = composed("train", ["task=cifar10", "model=pi_limit", "scale=demo"])
    task = build_task(config["task"], obtain(config["data"]), 0, torch.device("cpu"), torch.float32)
    marks = [0, task.steps_per_epoch, 4 * task.steps_per_epoch]
    limit = trained(limit_of(config, task), config, task, marks)
    squared = np.zeros((len(WIDTHS), len(marks)))
    with bar(total=len(WIDTHS) * arguments.draws, desc="networks", unit="network") as done:
        for i, width in enumerate(WIDTHS):
            for draw in range(arguments.draws):
                net = sampled(limit_of(config, task), width, stream("draw", width, draw))
                squared[i] += ((trained(net, config, task, marks) - limit) ** 2).mean((1, 2)).numpy() / arguments.draws
                done.update()
    rms, scale = np.sqrt(squared), (limit[-1] - limit[0]).square().mean().sqrt().item()
    slopes = [float(np.polyfit(np.log2(WIDTHS), np.log2(rms[:, t]), 1)[0]) for t in range(len(marks))]
    labels = ["at initialisation", "after 1 epoch", "after 4 epochs"]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        for t, label in enumerate(labels):
            axes.plot(WIDTHS, rms[:, t], "o-", color=COLOURS[t], label=f"{label}: slope {slopes[t]:.2f}")
        axes.plot(WIDTHS, rms[0, -1] * (np.array(WIDTHS) / WIDTHS[0]) ** -0.5, ":", color="grey", label="slope −1/2")
        axes.axhline(scale, color="black", lw=1, ls="--", label="how far the limit itself moves")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(WIDTHS, [str(w) for w in WIDTHS])
        axes.minorticks_off()
        axes.set(xlabel="width", ylabel="rms distance of test outputs", title=f"π-nets approach the π-limit (digits, {arguments.draws} draws)")
        axes.legend(fontsize=8)
        for suffix in ("png", "svg"):
            figure.savefig(f"{arguments.out}.{suffix}", bbox_inches="tight")
    found = {
        "hardware": provenance.hardware(torch.device("cpu")), "commit": provenance.commit(), "widths": WIDTHS, "draws": arguments.draws, "steps": marks,
        "rms": rms.tolist(), "limit_moves": scale, "slopes": slopes,
    }  # fmt: skip
    written(found, f"{arguments.out}.json")
    print(", ".join(f"{label} slope {slope:.3f}" for label, slope in zip(labels, slopes, strict=True)) + f"; {arguments.out}.png")


if __name__ == "__main__":
    main()

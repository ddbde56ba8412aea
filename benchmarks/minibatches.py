"""Up to which minibatch, number of shared negatives and learning rate CBOW's minibatches train as they should.

    python benchmarks/minibatches.py [--seeds 6] [--json FILE]    (needs simple8 and the questions: DATA_MIRROR=folder)

One epoch at width 64 on the first 20 MB of simple8 (words seen 40 times), a few seconds a run.
Where too many gradients are added up in a shared negative, some seeds lose their way for thousands of minibatches
or diverge: their mean training loss says so.
Each setting is six ordinary runs in results/runs/minibatches: those already made are read, not repeated.
"""

import argparse
import json
from pathlib import Path

import torch
from common import written

from infwidth import train
from infwidth.data.catalog import obtain
from infwidth.runs.compose import composed
from infwidth.runs.spec import specified

SETTINGS = [
    (0.1, 250, 128),
    (0.1, 250, 192),
    (0.1, 250, 256),
    (0.1, 250, None),
    (0.1, 125, 64),
    (0.1, 125, 128),
    (0.1, 500, 512),
    (0.05, 1000, 128),
    (0.05, 1000, 160),
    (0.05, 1000, 256),
    (0.05, 250, 64),
    (0.05, 4000, None),
]
"""Learning rate, running words of a minibatch, shared negatives (None: independent ones)."""

LOST = 1.05
"""A seed whose loss is so many times the least of its rate's has lost its way."""


def config(rate, words, shared, seed):
    return composed(
        "train",
        [
            "experiment=word2vec/width_64",
            "scale=cpu",
            "data=simple8",
            "name=minibatches",
            "row=null",
            "logger=none",
            "trainer.checkpoint_every=0",
            "trainer.stop_epoch=1",
            "trainer.progress=false",
            "task.most_summed=null",
            f"trainer.learning_rate={rate}",
            f"task.words_per_step={words}",
            f"task.shared_negatives={'null' if shared is None else shared}",
            f"seed={seed}",
        ],
    )


def loss(folder):
    """Mean training loss of the epoch; None if the run diverged."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return next((r["train/loss"] for r in rows if r["epoch"] == 1 and "train/loss" in r), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--json", help="also write the figures there")
    arguments = parser.parse_args()
    lines, least = [], {}
    for rate, words, shared in SETTINGS:
        losses = []
        for seed in range(arguments.seeds):
            chosen = config(rate, words, shared, seed)
            summary = train.run(chosen)
            losses.append(loss(Path(chosen["paths"]["results"]) / "runs/minibatches" / summary["id"]))
        positions = specified(chosen).build_task(obtain(chosen["data"]), torch.device("cpu")).positions
        least[rate] = min([least.get(rate, float("inf")), *(value for value in losses if value is not None)])
        lines.append(
            {
                "learning_rate": rate,
                "words_per_step": words,
                "positions": round(positions, 1),
                "shared_negatives": shared,
                "rate^2 * summed": None if shared is None else round(rate**2 * positions * 25 / shared, 3),
                "rate^2 * positions": round(rate**2 * positions, 2),
                "losses": losses,
            }
        )
    for line in lines:
        line["lost"] = sum(value is None or value > LOST * least[line["learning_rate"]] for value in line["losses"])
        print({**line, "losses": [value and round(value, 2) for value in line["losses"]]})
    written(lines, arguments.json)


if __name__ == "__main__":
    main()

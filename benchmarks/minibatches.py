"""Up to which minibatch, number of shared negatives and learning rate CBOW's minibatches follow sequential SGD.

    python benchmarks/minibatches.py [--json FILE]      (needs simple8 and the questions: DATA_MIRROR=folder)

The mu-limit on the first 5 MB of simple8 (words seen 30 times, 3 epochs), each setting an ordinary run in results/runs/minibatches:
settings already run are read, not repeated. The first line, one running word a minibatch and independent negatives, is sequential
SGD and takes twenty minutes; --skip-sequential leaves it out.
"""

import argparse
import json
from pathlib import Path

import torch

from infwidth import train
from infwidth.command import composed
from infwidth.data.catalog import obtain
from infwidth.tasks import build_task

SEQUENTIAL = (0.1, 1, None)
SETTINGS = [
    (0.1, 250, None), (0.1, 4000, None), (0.1, 250, 256), (0.1, 250, 128), (0.1, 250, 64), (0.1, 500, 256), (0.1, 500, 128), (0.1, 1000, 512),
    (0.1, 1000, 256), (0.05, 250, 64), (0.05, 1000, 128), (0.05, 1000, 64), (0.05, 1000, 16),
]  # fmt: skip


def config(rate, words, shared):
    return composed("train", [
        "task=word2vec", "model=mu_limit", "scale=cpu", "data=simple8", "data.bytes=5000000", "data.min_count=30", "trainer.epochs=3", "name=minibatches",
        "logger=none", "trainer.checkpoint_every=0", "task.most_summed=null", f"trainer.learning_rate={rate}", f"task.words_per_step={words}",
        f"task.shared_negatives={'null' if shared is None else shared}",
    ])  # fmt: skip


def loss(folder, positions):
    """Mean training loss of a position in the last epoch, from the run's metrics; None if the run diverged before its end.

    Metrics are means over minibatches, of which those of one running word mostly have no position.
    """
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [r["train/loss"] for r in rows if r["epoch"] == 3 and "train/loss" in r]
    return found[0] / min(positions, 1) if found else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-sequential", action="store_true")
    parser.add_argument("--json", help="also write the figures there")
    arguments = parser.parse_args()
    lines = []
    for rate, words, shared in [*([] if arguments.skip_sequential else [SEQUENTIAL]), *SETTINGS]:
        chosen = config(rate, words, shared)
        summary = train.run(chosen)
        task = build_task(chosen["task"], obtain(chosen["data"]), 0, torch.device("cpu"), torch.float32)
        negatives = task.positions * 25 / shared if shared else None
        lines.append({
            "learning_rate": rate, "words_per_step": words, "positions": round(task.positions, 1), "shared_negatives": shared,
            "rate^2 * summed": None if negatives is None else round(rate**2 * negatives, 3), "rate^2 * positions": round(rate**2 * task.positions, 2),
            "status": summary["status"], "loss": loss(Path(chosen["paths"]["results"]) / "runs/minibatches" / summary["id"], task.positions),
            "accuracy": summary["metrics"].get("test/accuracy"), "commit": summary["provenance"]["commit"],
        })  # fmt: skip
    print()
    for line in lines:
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()))
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump(lines, f, indent=1)


if __name__ == "__main__":
    main()

"""A pi-limit with landmarks beside the exact one: ordinary runs of the same seeds, and what they say of each other.

    python benchmarks/bounded.py [--landmarks null epoch epoch/2 8192] [--seeds 0 1] [--results DIR] [key=value ...]

epoch/2 is model.landmarks=epoch model.older_rows=2. Runs are of experiment=cifar10/pi_limit scale=cpu; other keys
change that. A run that is there is not repeated, and one that was interrupted goes on. For every seed each is compared
with the exact one: accuracy on the test, training loss, rows, seconds and seconds of the last epoch, how far the test
outputs of the selected states lie apart, and the errors that were measured at the projections.
"""

import json

import torch
from common import carried_out, heading, plain_options, written

from infwidth import train
from infwidth.data.catalog import obtain
from infwidth.models.cost import Shape
from infwidth.runs.compose import composed
from infwidth.runs.spec import specified
from infwidth.training import checkpoints

BASE = ["experiment=cifar10/pi_limit", "scale=cpu", "task.feature_regulariser=null", "logger=none"]
"""The regression on features has no part in the comparison, and takes as long as a few epochs."""


def keys_of(landmarks):
    """The overrides of null, epoch, epoch/<older rows> or <number>[/<older rows>]."""
    which, _, older = landmarks.partition("/")
    return [f"model.landmarks={which}"] + ([f"model.older_rows={older}"] if older else [])


def finished(config):
    """The folder of a run that is finished, after it has been carried out if it was not."""
    folders = []
    train.run(config, folders.append)
    return folders[0]


def history(folder):
    """The rows of a run's metrics.jsonl that an epoch has ended with."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "train/loss" in row]


def outputs_of(config, folder):
    """Outputs (n, k) of the selected state on all test images."""
    spec, cpu = specified(config), torch.device("cpu")
    task = spec.build_task(obtain(config["data"]), cpu)
    net = spec.build_model(Shape(task.inputs, task.outputs), cpu)
    net.load_state(checkpoints.load(folder / "checkpoints" / checkpoints.BEST).tensors)
    return net.outputs(task.x["test"])


def compared(landmarks, seed, config, folder, exact):
    """What a run says of itself, and its outputs beside those of the exact run."""
    summary, epochs = json.loads((folder / "summary.json").read_text()), history(folder)
    last, before = epochs[-1], epochs[-2] if len(epochs) > 1 else {"seconds": 0.0}
    outputs = outputs_of(config, folder)
    exact = outputs if exact is None else exact
    centred = exact - exact.mean(1, keepdim=True)
    projections = [row for row in epochs if "model/projections_2" in row]
    found = {
        "landmarks": landmarks,
        "seed": seed,
        "accuracy": summary["metrics"]["test/accuracy"],
        "epoch": summary["best_epoch"],
        "loss": last["train/loss"],
        "rows": max(row["model/rows_2"] for row in epochs) if landmarks != "null" else None,
        "seconds": last["seconds"],
        "last_epoch_seconds": last["seconds"] - before["seconds"],
        "output_difference": ((outputs - exact).norm() / centred.norm()).item(),
        "same_predictions": 100 * (outputs.argmax(1) == exact.argmax(1)).double().mean().item(),
    }
    for name in ("change", "bound", "relative_error") if projections else ():
        found[name] = max(row[f"model/{name}_{l}"] for row in projections for l in (2, 3))
    return found, outputs, [{k: row.get(k) for k in ("epoch", "validation/accuracy", "seconds")} for row in epochs]


def main():
    parser = plain_options(__doc__)
    parser.add_argument("--landmarks", nargs="+", default=["null", "epoch", "epoch/2", "epoch/3", "5000", "10000"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--results", default="results")
    arguments, overrides = parser.parse_known_args()
    found = {**heading(1), "runs": []}
    for seed in arguments.seeds:
        exact = None
        for landmarks in arguments.landmarks:
            more = [f"seed={seed}", f"paths.results={arguments.results}", *keys_of(landmarks), *overrides]
            config = composed("train", [*BASE, *more])
            run, outputs, epochs = compared(landmarks, seed, config, finished(config), exact)
            exact = outputs if landmarks == "null" else exact
            found["runs"].append({**run, "epochs": epochs})
            rows = "all" if run["rows"] is None else f"{run['rows']:.0f}"
            print(
                f"seed {seed}, landmarks {landmarks:>8}: {run['accuracy']:.2f} % on the test, loss {run['loss']:.3f}, "
                f"{rows} rows at most at an epoch's end, {run['seconds']:.0f} s, the last epoch "
                f"{run['last_epoch_seconds']:.1f} s; outputs off by {100 * run['output_difference']:.1f} %, "
                f"{run['same_predictions']:.1f} % of predictions the same"
                + (f"; a projection changed outputs by {100 * run['change']:.2f} % at most" if "change" in run else ""),
                flush=True,
            )
    written(found, arguments.json)


if __name__ == "__main__":
    carried_out(main)

"""What the benchmarks share: their options and heading, their file of figures, and a plain training step."""

import argparse
import json
from pathlib import Path

import torch

from infwidth.training import provenance
from infwidth.training.clipping import clipped


def options(description: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with --rounds and --json."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", help="also write the figures there")
    return parser


def heading(rounds: int) -> dict[str, str]:
    """The machine and the commit, printed, for the figures to begin with."""
    found = {"hardware": provenance.hardware(torch.device("cpu")), "commit": provenance.commit()}
    print(f"{found['hardware']}; commit {found['commit']}; medians of {rounds} rounds\n")
    return found


def written(figures, path: str | None) -> None:
    """Write the figures as JSON, where a file is named."""
    if path:
        Path(path).write_text(json.dumps(figures, indent=1))


def trained_step(net, task, batch, trainer) -> None:
    """One step of the trainer's loop at a constant rate, without its schedule, log and checkpoints."""
    update, _ = task.step(net, batch)
    update, _ = clipped(update, trainer["clip"], trainer["clip_by"])
    net.apply_update(update, trainer["learning_rate"], trainer["decay"])

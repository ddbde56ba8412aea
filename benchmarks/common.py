"""What the benchmarks share: their options, heading and file of figures, how they end, and a plain training step."""

import argparse
import importlib.util
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from infwidth.command import sentences
from infwidth.errors import ConfigError
from infwidth.training import provenance
from infwidth.training.clipping import clipped


def options(description: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with --rounds and --json."""
    parser = plain_options(description)
    parser.add_argument("--rounds", type=positive, default=rounds, help="measurements to take the median of")
    return parser


def plain_options(description: str) -> argparse.ArgumentParser:
    """A parser with --json."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--json", type=new_file, metavar="FILE", help="also write the figures there")
    return parser


def new_file(text: str) -> Path:
    """A path in a folder that is there."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is no file in a folder that exists")
    return path


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def carried_out(main: Callable[[], None]) -> None:
    """Carry out a benchmark; without its data or its peer it ends in a sentence."""
    with sentences():
        main()


def require_peer(module: str, package: str) -> None:
    """ConfigError unless the package that a benchmark compares with is installed."""
    if importlib.util.find_spec(module) is None:
        raise ConfigError(f"this benchmark compares with {package}, which is not installed; make setup installs it.")


def output_of(command: Sequence[str], what: str, **settings) -> str:
    """What a command prints. ConfigError with its last line of complaint if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, **settings)
    except OSError as e:
        raise ConfigError(f"{what} does not start: {command[0]} ({e.strerror}).") from e
    if done.returncode:
        complaint = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise ConfigError(f"{what} failed: {complaint.removeprefix('error: ')}")
    return done.stdout


def heading(rounds: int) -> dict[str, str]:
    """The machine and the commit, printed, for the figures to begin with."""
    found = {"hardware": provenance.hardware(torch.device("cpu")), "commit": provenance.commit()}
    print(f"{found['hardware']}; commit {found['commit']}; medians of {rounds} rounds\n")
    return found


def written(figures, path: Path | None) -> None:
    """Write the figures as JSON, where a file is named."""
    if path:
        path.write_text(json.dumps(figures, indent=1))


def trained_step(net, task, batch, trainer) -> None:
    """One step of the trainer's loop at a constant rate, without its schedule, log and checkpoints."""
    update, _ = task.step(net, batch)
    update, _ = clipped(update, trainer["clip"], trainer["clip_by"])
    net.apply_update(update, trainer["learning_rate"], trainer["decay"])

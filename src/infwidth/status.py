"""How far a sweep is: `python -m infwidth.status name=maml_widths` or `make status NAME=maml_widths`."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from infwidth import sweeps
from infwidth.command import command
from infwidth.config import load
from infwidth.runs.compose import COMMANDS, plain
from infwidth.runs.spec import PathsConfig


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """conf/command/status.yaml"""

    name: str
    paths: PathsConfig


@command(COMMANDS, "status")
def main(config: DictConfig) -> None:
    chosen = load(StatusConfig, plain(config), "")
    print(sweeps.progress(Path(chosen.paths.results) / "runs" / chosen.name))


if __name__ == "__main__":
    main()

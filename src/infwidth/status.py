"""How far a sweep is: `python -m infwidth.status name=maml_widths` or `make status NAME=maml_widths`."""

from dataclasses import dataclass

from omegaconf import DictConfig

from infwidth import sweeps
from infwidth.command import command
from infwidth.config import load
from infwidth.runs.compose import COMMANDS, plain
from infwidth.runs.folders import PathsConfig, folder_of_runs


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """conf/command/status.yaml"""

    name: str
    paths: PathsConfig


@command(COMMANDS, "status")
def main(config: DictConfig) -> None:
    chosen = load(StatusConfig, plain(config), "")
    folder = folder_of_runs(chosen.paths.results, chosen.name)
    print(sweeps.progress(folder, sweeps.found(folder)))


if __name__ == "__main__":
    main()

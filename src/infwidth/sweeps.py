"""Saved sweeps, conf/sweep: the jobs that one is made of, as the command line's overrides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from infwidth.command import CONF
from infwidth.errors import ConfigError


def jobs(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of every job of a multirun, in the order in which Hydra numbers them. ConfigError for an override that is none."""
    try:
        batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(list(overrides)), None)
    except HydraException as e:
        raise ConfigError(f"{' '.join(overrides)} is no sweep: {' '.join(str(e).split())}") from e
    return [tuple(job) for batch in batches for job in batch]


def saved(name: str) -> list[str]:
    """The overrides that conf/sweep/<name>.yaml stands for. ConfigError if there is no such file."""
    path = Path(CONF) / "sweep" / f"{name}.yaml"
    if not path.exists():
        raise ConfigError(f"sweep {name!r} is not known; choose one of: {', '.join(sorted(p.stem for p in path.parent.glob('*.yaml')))}.")
    return written_out(yaml.safe_load(path.read_text())["hydra"]["sweeper"]["params"])


def written_out(params: dict[str, Any] | None) -> list[str]:
    """hydra.sweeper.params as overrides."""
    return [f"{key}={value}" for key, value in (params or {}).items()]

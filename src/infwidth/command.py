"""What the commands share: where the configs are, how a composed config becomes plain data, how errors are shown."""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from infwidth.errors import ConfigError, InfwidthError

CONF = str(Path(__file__).parents[2] / "conf")
COMMANDS = f"{CONF}/command"
"""Configs of the other commands, apart from train's groups: there ``data=`` and ``scale=`` are plain keys."""


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed config as nested dicts and lists, interpolations resolved. ConfigError for a missing or broken value."""
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as e:
        raise ConfigError(" ".join(str(e).split())) from e


def composed(config_name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a config as the command line would; usable inside another command. ConfigError if an override does not fit."""
    hydra = GlobalHydra.instance()
    outer = hydra.hydra
    hydra.clear()
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            return plain(compose(config_name, list(overrides)))
    except (HydraException, OmegaConfBaseException) as e:
        raise ConfigError(f"the config of {' '.join(overrides)} does not compose: {' '.join(str(e).split())}") from e
    finally:
        hydra.clear()
        if outer is not None:
            hydra.initialize(outer)


def sentences(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Show a user's errors as one sentence. A sweep goes on with its next job; a single command exits with status 2."""

    @functools.wraps(function)
    def wrapped(config: DictConfig):
        try:
            return function(config)
        except InfwidthError as e:
            print(f"error: {e}", file=sys.stderr, flush=True)
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                sys.exit(2)

    return wrapped

"""From overrides to a plain config, as the command line composes it from conf/."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from infwidth.errors import ConfigError

CONF = str(Path(__file__).parents[3] / "conf")
COMMANDS = f"{CONF}/command"
"""Configs of the other commands, apart from train's groups: there ``data=`` and ``scale=`` are plain keys."""

# conf/task/*.yaml choose their data with it: ${by_scale:${scale},{demo: glyphs, cpu: omniglot, paper: omniglot}}
OmegaConf.register_new_resolver("by_scale", lambda scale, choices: choices[scale], replace=True)


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

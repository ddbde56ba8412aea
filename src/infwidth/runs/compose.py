"""From overrides to a plain config, as the command line composes it from conf/."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from infwidth import places
from infwidth.errors import ConfigError
from infwidth.runs import overrides as given
from infwidth.runs.folders import folder_of_runs

CONF = str(places.CONF)
COMMANDS = f"{CONF}/command"
"""Configs of the other commands, apart from train's groups: there ``data=`` and ``scale=`` are plain keys."""

# conf/task/*.yaml choose their data with it: ${by_scale:${scale},{demo: glyphs, cpu: omniglot, paper: omniglot}}
OmegaConf.register_new_resolver("by_scale", lambda scale, choices: choices[scale], replace=True)
# Hydra makes the folder of a sweep before a job begins: a name that leads elsewhere must not resolve, and where the
# job's process happens to be must not matter. With use_cache the folder is that of the sweep in all of its jobs, also
# where they have different names: Hydra hands them what has been made out of the same text.
OmegaConf.register_new_resolver(
    "folder_of_sweep",
    lambda started, results, name: str(Path(started) / folder_of_runs(results, name)),
    replace=True,
    use_cache=True,
)

OF_A_RESOLVER = "ConfigError raised while resolving interpolation: "
"""OmegaConf puts this before what a resolver raises."""


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed config as nested dicts and lists, interpolations resolved. ConfigError for one that is missing."""
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as e:
        raise unresolved(e) from e


def unresolved(error: Exception) -> ConfigError:
    """What is wrong with a value that is missing, or that does not resolve."""
    why = given.one_line(error)
    if why.startswith(OF_A_RESOLVER):
        return ConfigError(f"{why.removeprefix(OF_A_RESOLVER)}.")
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(f"{error.full_key} is missing; give it a value.")
    return ConfigError(f"{error.full_key} cannot be made out ({why}); give it another value.")


def composed(config_name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a config as the command line would; usable inside another command. ConfigError for what does not fit."""
    given.require_choices(overrides, Path(CONF))
    try:
        return plain(_composed(CONF, config_name, overrides))
    except (HydraException, OmegaConfBaseException) as e:
        raise refused(CONF, config_name, overrides, e) from e


def refused(folder: str, config_name: str, overrides: Sequence[str], error: Exception) -> ConfigError:
    """What is wrong with overrides of a config in ``folder`` that Hydra refuses with ``error``."""
    conf = Path(folder)
    if given.one_line(error).startswith(OF_A_RESOLVER):
        return unresolved(error)
    try:
        for job in _jobs(folder, config_name, overrides):
            sentence = _unknown_key(folder, config_name, job)
            if sentence:
                return ConfigError(sentence)
    except (HydraException, OmegaConfBaseException):
        pass  # it is the choices themselves that do not go together
    return ConfigError(given.misfit(overrides, conf, error))


def _jobs(folder: str, config_name: str, overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of every run that is asked for: those of a sweep, be it a saved one, or of the one run."""
    choices = _choices(folder, [o for o in overrides if not given.parsed([o])[0].is_sweep_override()])
    saved = _composed(folder, config_name, choices, with_hydra=True).hydra.sweeper.get("params") or {}
    return given.jobs([*(f"{key}={value}" for key, value in saved.items()), *overrides])


def _unknown_key(folder: str, config_name: str, overrides: Sequence[str]) -> str | None:
    config = _composed(folder, config_name, _choices(folder, overrides), with_hydra=True)
    return given.unknown_key(overrides, OmegaConf.to_container(config), Path(folder))


def _choices(folder: str, overrides: Sequence[str]) -> list[str]:
    return [o.input_line for o in given.parsed(overrides) if given.is_choice(o, Path(folder))]


def _composed(folder: str, config_name: str, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
    """Compose a config of ``folder`` without disturbing the command that may be under way."""
    hydra = GlobalHydra.instance()
    outer = hydra.hydra
    hydra.clear()
    try:
        with initialize_config_dir(folder, version_base="1.3"):
            return compose(config_name, list(overrides), return_hydra_config=with_hydra)
    finally:
        hydra.clear()
        if outer is not None:
            hydra.initialize(outer)

"""What a command line gives, and a sentence for each override that does not fit the configs of conf/.

Hydra looks at overrides too, but its advice is to add a misspelt key with a ``+``, and it lists no experiments.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException

from infwidth.errors import ConfigError
from infwidth.spelling import meant, nearest

DECIDES_NUMBERS = False

MOST_JOBS = 10_000
"""Of a sweep."""


def on_command_line() -> list[str]:
    """The overrides among the arguments of the command. ConfigError for options that Hydra does not have together."""
    parser = get_args_parser()
    parser.error = _refuse
    arguments = parser.parse_args()
    modes = {
        "--run": arguments.run,
        "--multirun": arguments.multirun,
        "--cfg": arguments.cfg,
        "--info": arguments.info,
        "--shell-completion": arguments.shell_completion,
    }
    given = [name for name, value in modes.items() if value]
    if len(given) > 1:
        _refuse(f"{' and '.join(given)} exclude each other")
    if arguments.resolve and not (arguments.cfg or arguments.help):
        _refuse("--resolve goes with --cfg only")
    if arguments.experimental_rerun:
        _refuse("--experimental-rerun would execute code that a file holds")
    return arguments.overrides


def _refuse(why: str) -> NoReturn:
    raise ConfigError(f"{why}; options such as -m come first, then key=value ..., and --help lists both.")


def parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides as Hydra reads them. ConfigError for what it cannot read."""
    return [_parsed(override) for override in overrides]


def _parsed(override: str) -> Override:
    try:
        return OverridesParser.create().parse_overrides([override])[0]
    except (OverrideParseException, ValueError) as e:  # ValueError: a number of thousands of digits
        shown = override if len(override) < 100 else f"{override[:100]}..."
        raise ConfigError(
            f"{shown!r} cannot be read ({one_line(e)}); write key=value, in quotes if it has blanks."
        ) from e


def jobs(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of every job of a sweep, in the order in which Hydra numbers them; of a single run without one."""
    found = parsed(overrides)
    swept = [o for o in found if o.is_discrete_sweep()]
    if math.prod(sum(1 for _ in itertools.islice(o.sweep_iterator(), MOST_JOBS + 1)) for o in swept) > MOST_JOBS:
        raise ConfigError(
            f"{' '.join(o.input_line for o in swept)} is a sweep of more than {MOST_JOBS} jobs; lessen it."
        )
    try:
        (batch,) = BasicSweeper.split_arguments(found, None)
    except HydraException as e:
        raise ConfigError(f"{' '.join(overrides)} is no sweep: {one_line(e)}") from e
    return batch


def is_choice(override: Override, conf: Path) -> bool:
    """Whether it chooses an option of a group, such as model=finite or Hydra's hydra/launcher=joblib."""
    return "/" in override.key_or_group or (conf / override.key_or_group).is_dir()


def own_folder() -> Path | None:
    """The folder of the user's own configs that --config-dir names, which is searched beside conf/."""
    given = get_args_parser().parse_args().config_dir
    return Path(given) if given else None


def require_choices(overrides: Sequence[str], conf: Path, own: Path | None = None) -> None:
    """ConfigError for an override that cannot be read, and for one that chooses what a group does not have.

    own: a folder of the user's that is searched beside conf/, as those of hydra.searchpath are.
    """
    found = parsed(overrides)
    searched = [conf, *([own] if own else []), *_search_path(found)]
    for override in found:
        group = override.key_or_group
        if override.is_hydra_override() or not is_choice(override, conf):
            continue
        if not any((folder / group).is_dir() for folder in searched):
            groups = sorted(p.name for p in conf.iterdir() if p.is_dir())
            raise ConfigError(f"{group} is not a group{meant(group, groups)}; there are: {', '.join(groups)}.")
        _require_choice(override, [folder / group for folder in searched])


def _search_path(overrides: Sequence[Override]) -> list[Path]:
    """The folders that hydra.searchpath adds."""
    added = [o.value() for o in overrides if o.key_or_group == "hydra.searchpath" and isinstance(o.value(), list)]
    return [Path(str(place).removeprefix("file://")) for places in added for place in places]


def _require_choice(override: Override, folders: Sequence[Path]) -> None:
    group = override.key_or_group
    found = {p.relative_to(folder).with_suffix("").as_posix() for folder in folders for p in folder.rglob("*.yaml")}
    options = sorted(found)
    if override.is_delete():
        raise ConfigError(
            f"{override.input_line} takes a group away, which a run needs; choose {_listed(options, '')}."
        )
    if override.is_add() or override.is_force_add() or override.package is not None:
        raise ConfigError(f"{override.input_line} does not choose a {group}; write {group}={_plain_value(override)}.")
    for chosen in _values(override):
        if chosen is None:
            raise ConfigError(f"{group}=null chooses nothing; choose {_listed(options, '')}.")
        if "${" not in chosen and chosen.removesuffix(".yaml") not in options:
            near = meant(chosen, options, f"{group}=")
            raise ConfigError(f"{group}={chosen} does not exist{near}; choose {_listed(options, chosen)}.")


def _values(override: Override) -> Iterator[str | None]:
    """What is chosen: one option, or those of a sweep."""
    if override.is_sweep_override():
        yield from (value.strip("'\"") for value in override.sweep_string_iterator())
    else:
        value = override.value()
        yield value if value is None else str(value)


def _plain_value(override: Override) -> str:
    return override.get_value_element_as_str()


def _listed(options: Sequence[str], asked: str) -> str:
    """The options of the folder that was asked for, or the folders if there is none such."""
    folder = asked.rpartition("/")[0]
    beside = [option for option in options if option.rpartition("/")[0] == folder]
    folders = sorted({option.partition("/")[0] + "/..." for option in options if "/" in option})
    return f"one of: {', '.join(beside or folders)}"


def unknown_key(overrides: Sequence[str], config: Mapping[str, Any], conf: Path) -> str | None:
    """The sentence for the first override whose key the config does not have; None if it has them all.

    config: as it is composed without these overrides, apart from the choices of options, Hydra's own keys included.
    """
    for override in parsed(overrides):
        if not is_choice(override, conf):
            sentence = _unknown(override, config)
            if sentence:
                return sentence
    return None


def _unknown(override: Override, config: Mapping[str, Any]) -> str | None:
    path = override.key_or_group
    parts, group = path.split("."), config
    for depth, part in enumerate(parts):
        if isinstance(group, (list, tuple)):
            return None  # an element of a list: Hydra's to judge
        if not isinstance(group, Mapping):
            return f"{path} does not exist: {'.'.join(parts[:depth])} is a key and not a group of keys."
        if part not in group:
            return _not_in(path, parts[:depth], group, config)
        group = group[part]
    if override.is_add():
        return f"{override.input_line} would add a key that is there; write it without the plus sign."
    return None


def _not_in(path: str, above: Sequence[str], group: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The sentence for a key that a group of keys, found at ``above``, does not have."""
    has = [str(name) for name in group]
    if above:
        place = ".".join(above) + (f" ({group['name']})" if "name" in group else "")
    else:
        groups = {group for group in config["hydra"]["runtime"]["choices"] if not re.search("[/@]", group)}
        place, has = "the config", sorted({*has, *groups} - {"hydra"})
    return f"{path} is not a known key{_meant(path, above, has, config)}; {place} has: {', '.join(has)}."


def _meant(path: str, above: Sequence[str], has: Sequence[str], config: Mapping[str, Any]) -> str:
    """The key that may have been meant: one of the same group, or else one of another group that is called alike."""
    wrong = path.split(".")[len(above)]
    near = meant(wrong, has, "".join(f"{part}." for part in above))
    known = [key for key in _dotted(config) if not key.startswith("hydra")]
    if not above and "." in path:
        near = meant(path, known)
    if near:
        return near
    elsewhere = {key.rpartition(".")[2]: key for key in known}
    close = nearest(path.rpartition(".")[2], elsewhere)
    return f" (did you mean {elsewhere[close]}?)" if close else ""


def _dotted(config: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """All keys of a config, those of its groups with dots."""
    for name, value in config.items():
        yield f"{above}{name}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{above}{name}.")


def misfit(overrides: Sequence[str], conf: Path, error: Exception) -> str:
    """The sentence for overrides that Hydra refuses for another reason than an unknown key or option."""
    swept = next((o.input_line for o in parsed(overrides) if o.is_sweep_override()), None)
    if swept is not None and "--multirun" in str(error):
        key, _, values = swept.partition("=")
        return f"{swept} has several values; add -m to sweep over them, or write {key}=[{values}] for a list."
    options = getattr(error, "options", None)
    if options:
        group, _, chosen = error.missing_cfg_file.rpartition("/")
        near = meant(chosen, options, f"{group}=")
        return f"{group}={chosen} does not exist{near}; choose one of: {', '.join(sorted(options))}."
    given = f" of {' '.join(overrides)}" if overrides else ""
    return f"the config{given} does not compose: {one_line(error)}"


def one_line(error: BaseException) -> str:
    """An error of Hydra's or OmegaConf's, and the one below it, without the lines that only describe its place."""
    texts = [str(e).strip() for e in (error, error.__cause__) if e is not None]
    return ": ".join(text.splitlines()[0].rstrip(".") for text in texts if text) or type(error).__name__

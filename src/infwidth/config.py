"""From a config mapping to the dataclass a component is built from: unknown keys, missing keys and wrong values fail.

Components declare their settings as frozen dataclasses and know nothing of Hydra; the commands hand them plain
mappings. Ranges that concern one key are declared on the field with :func:`key`; rules that join keys belong to the
component.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal, TypeVar, Union

from infwidth.errors import ConfigError
from infwidth.rational import exact
from infwidth.spelling import meant

T = TypeVar("T")

WANTED = {
    float: "a number",
    Fraction: "a number or a fraction such as 1/2",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
}
"""What a key of a type must be."""

LARGEST_WHOLE = 2**53
"""2^53: up to here a float holds every whole number."""


def key(
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    default: Any = dataclasses.MISSING,
    decides: bool = True,
    neutral: Any = None,
    file: bool = False,
):
    """A dataclass field of a config.

    at_least, above, at_most: the range that its value (or, for a tuple, each of its values) must lie in. decides:
    whether it decides numbers, and so is part of a run's id. neutral: the value at which it leaves the id as it would
    be without the key, so that a new key leaves the ids of earlier runs as they are. file: whether it is the path of a
    file, which counts by content.
    """
    limits = {"at_least": at_least, "above": above, "at_most": at_most}
    metadata = {k: v for k, v in limits.items() if v is not None}
    return dataclasses.field(
        default=default, metadata={**metadata, "decides": decides, "neutral": neutral, "file": file}
    )


def load(cls: type[T], mapping: Mapping[str, Any] | None, where: str) -> T:
    """Build dataclass ``cls`` from a mapping found at the config path ``where`` ('' for the whole config).

    Raises ConfigError that names the key for an unknown or missing key, a wrong type and a value out of range.
    """
    place = where or "the config"
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{place} must be a group of keys ({_names(cls)}), not {_shown(mapping)}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = _hints(cls)
    unknown = [name for name in mapping if name not in fields]
    if unknown:
        near = meant(str(unknown[0]), fields, f"{where}." if where else "")
        raise ConfigError(f"{_join(where, unknown[0])} is not a known key{near}; {place} has: {_names(cls)}.")
    values = {}
    for name, field in fields.items():
        path = _join(where, name)
        if name not in mapping:
            if field.default is dataclasses.MISSING:
                raise ConfigError(f"{path} is missing; give it a value.")
            continue
        value = _convert(hints[name], mapping[name], path)
        _check_range(value, field.metadata, path)
        values[name] = value
    return cls(**values)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _shown(value: Any) -> str:
    """A value as a config has it."""
    return "null" if value is None else repr(value)


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _names(cls) -> str:
    return ", ".join(f.name for f in dataclasses.fields(cls))


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return load(hint, value, path)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} must be a group of keys, not {_shown(value)}.")
        return dict(value)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert_to_one(tuple(a for a in arguments if a is not type(None)), value, path)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{path} is {_shown(value)}; choose one of: {', '.join(map(str, arguments))}.")
        return value
    if origin is tuple:
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ConfigError(f"{path} must be a list, not {_shown(value)}.")
        return tuple(_convert(arguments[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(value, path)
    if hint is Fraction and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return _fraction(value, path)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return _whole(value, path)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    raise ConfigError(f"{path} must be {WANTED[hint]}, not {_shown(value)}.")


def _whole(value: int, path: str) -> int:
    if abs(value) > LARGEST_WHOLE:
        raise ConfigError(
            f"{path} is too large a number; the largest that can be told from the next is {LARGEST_WHOLE}."
        )
    return value


def _finite(value: float, path: str) -> float:
    try:
        found = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        found = math.inf
    if not math.isfinite(found):
        raise ConfigError(f"{path} is {found}; it must be a finite number.")
    return found


def _fraction(value: float | str, path: str) -> Fraction:
    if not isinstance(value, str):
        value = _finite(value, path)
    try:
        return Fraction(exact(value))
    except ValueError as e:
        raise ConfigError(f"{path} must be {WANTED[Fraction]}, not {_shown(value)}.") from e


def _convert_to_one(hints: tuple[Any, ...], value: Any, path: str) -> Any:
    """The value as the first of these types that takes it."""
    if len(hints) == 1:
        return _convert(hints[0], value, path)
    for hint in hints:
        try:
            return _convert(hint, value, path)
        except ConfigError:
            continue
    wanted = " or ".join(WANTED[h] if h in WANTED else "|".join(map(str, typing.get_args(h))) for h in hints)
    raise ConfigError(f"{path} must be {wanted}, not {_shown(value)}.")


def _check_range(value: Any, limits: Mapping[str, float], path: str) -> None:
    for v in value if isinstance(value, tuple) else (value,):
        if v is None or isinstance(v, str):  # a word in place of a number is none that has a range
            continue
        if "at_least" in limits and not v >= limits["at_least"]:
            raise ConfigError(f"{path} is {v}; it must be at least {limits['at_least']}.")
        if "above" in limits and not v > limits["above"]:
            raise ConfigError(f"{path} is {v}; it must be greater than {limits['above']}.")
        if "at_most" in limits and not v <= limits["at_most"]:
            raise ConfigError(f"{path} is {v}; it must be at most {limits['at_most']}.")

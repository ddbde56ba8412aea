"""Checks of single arguments."""

import math
from collections.abc import Collection
from typing import Any

from infwidth.errors import ConfigError


def positive(name: str, value: Any, zero: bool = False) -> None:
    """ConfigError unless the value is a finite number above 0, or, with ``zero``, at least 0."""
    try:
        fits = math.isfinite(value) and (value > 0 or (zero and value == 0))
    except TypeError:
        fits = False
    if not fits:
        raise ConfigError(f"{name} is {value!r}; it must be a number {'not below' if zero else 'greater than'} 0.")


def whole(name: str, value: Any, at_least: int = 1) -> None:
    """ConfigError unless the value is a whole number of at least so many."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, at least {at_least}.")


def one_of(name: str, value: Any, choices: Collection[str]) -> None:
    """ConfigError unless the value is one of the choices."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; choose one of: {', '.join(choices)}.")

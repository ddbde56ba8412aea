"""How a public name is given up: it goes on working for a while, and warns."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P, R = ParamSpec("P"), TypeVar("R")


def deprecated(since: str, instead: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator of a function that is to go: since which version, and what to use instead.

    >>> import warnings
    >>> @deprecated(since="0.2", instead="infwidth.fit")
    ... def train(): return "trained"
    >>> with warnings.catch_warnings(record=True) as found:
    ...     warnings.simplefilter("always")
    ...     print(train(), found[0].message)
    trained train is deprecated since infwidth 0.2 and will be removed; use infwidth.fit.
    """

    def decorator(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            warnings.warn(
                f"{function.__name__} is deprecated since infwidth {since} and will be removed; use {instead}.",
                DeprecationWarning,
                stacklevel=2,
            )
            return function(*args, **kwargs)

        return wrapper

    return decorator

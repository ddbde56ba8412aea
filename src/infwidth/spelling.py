"""Which name a misspelt one may have been meant to be."""

import difflib
from collections.abc import Iterable

DECIDES_NUMBERS = False


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of the known names that a misspelt one is most like; None if it is like none of them."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return found[0] if found else None


def meant(name: str, known: Iterable[str], above: str = "") -> str:
    """For a sentence about a name that is not known: ' (did you mean model.width?)', or nothing. above: 'model.'."""
    near = nearest(name, known)
    return f" (did you mean {above}{near}?)" if near else ""

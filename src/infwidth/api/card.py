"""What a model says of itself: of which kind it is, from which keys it is made, and what else there is to know."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from infwidth.errors import InfwidthError


@dataclass(frozen=True)
class Card:
    """kind: the function of this package that makes such a model, such as 'pi_limit'; keys: its arguments.

    shapes: of the tensors that a file holds; numbers: what was measured, by name; about, licence: texts; versions: of
    what wrote the file, by package.
    """

    kind: str
    keys: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    about: str = ""
    licence: str = ""
    versions: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        keys = ", ".join(f"{name}={value!r}" for name, value in self.keys.items())
        lines = [f"infwidth.{self.kind}({keys})", self.about]
        lines += [f"{name}: {value:g}" for name, value in self.numbers.items()]
        lines.append(f"licence: {self.licence}" if self.licence else "")
        return "\n".join(line for line in lines if line)

    def as_json(self) -> str:
        return json.dumps(asdict(self), allow_nan=False)


def card_of(model: nn.Module) -> Card:
    """A model's card. InfwidthError for a model that has none."""
    found = getattr(model, "card", None)
    if not isinstance(found, Card):
        raise InfwidthError(
            f"this {type(model).__name__} has no card, so that it cannot be made again from a file; make it with a "
            "function of infwidth, such as infwidth.pi_limit, or load it with infwidth.load."
        )
    return found

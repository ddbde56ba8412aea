"""Models and word vectors in a file: safetensors, which cannot execute code, with a card in the header."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infwidth.api import kernels, models
from infwidth.api.card import Card, card_of
from infwidth.api.words import WordVectors
from infwidth.config import load as loaded
from infwidth.errors import CheckpointError, ConfigError, InfwidthError, OutputError
from infwidth.models.contract import Model
from infwidth.training.files import write_whole
from infwidth.version import __version__

CARD = "infwidth"
"""The card's entry in the header of a file."""

WORDS = "words"
"""The tensor with the words, one a line, as UTF-8."""

MAKERS = {**models.KINDS, "kernel_regression": kernels.unfitted}
"""What makes a model from the keys of its card, by its kind."""


def save(
    model: Model | WordVectors,
    path: str | os.PathLike,
    *,
    about: str = "",
    numbers: Mapping[str, float] | None = None,
    licence: str = "",
) -> Card:
    """Write a limit, a finite network, a fitted kernel or word vectors to a file, whole or not at all; the card.

    about: what it is, trained on what; numbers: what was measured, such as {"test accuracy": 97.2}; licence: under
    which it may be used. What is not given stays as it was when the model was loaded. Raises InfwidthError for a model
    that infwidth has not made, and OutputError if the file cannot be written.

    >>> import infwidth as iw, tempfile, pathlib, torch
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "limit.safetensors"
    >>> limit = iw.pi_limit(inputs=4, outputs=3, rank=8)
    >>> card = iw.save(limit, path, about="as it starts", licence="MIT")
    >>> again = iw.load(path)
    >>> bool((again(torch.eye(4)) == limit(torch.eye(4))).all()), again.card.licence
    (True, 'MIT')
    """
    path = Path(path)
    tensors = _tensors(model)
    old = card_of(model)
    try:
        given = {name: float(value) for name, value in (numbers or old.numbers).items()}
    except (TypeError, ValueError) as e:
        raise InfwidthError(f"numbers has what is no number ({e}); give names and numbers.") from e
    card = replace(
        old,
        shapes={name: list(t.shape) for name, t in tensors.items()},
        numbers=given,
        about=about or old.about,
        licence=licence or old.licence,
        versions={"infwidth": __version__, "torch": torch.__version__},
    )
    try:
        write_whole(path, lambda temporary: save_file(tensors, temporary, {"format": "pt", CARD: card.as_json()}))
    except (OSError, SafetensorError) as e:
        raise OutputError(f"{path} cannot be written ({e}); name a file in a folder that exists, with room.") from e
    model.card = card
    return card


def load(path: str | os.PathLike) -> Any:
    """What :func:`save` has written, on the CPU: a model, or :class:`infwidth.WordVectors`; its ``card`` says which.

    Raises CheckpointError if the file cannot be read, was not written by save, or is of a later version's kind.
    """
    card, tensors = _read(Path(path))
    try:
        if card.kind == "WordVectors":
            model = WordVectors(bytes(tensors[WORDS].tolist()).decode().split("\n"), tensors["vectors"])
        else:
            model = MAKERS[card.kind](**card.keys)
            model.load_state(tensors)
    except (KeyError, TypeError, ValueError, InfwidthError) as e:
        raise CheckpointError(f"{path} holds a {card.kind} that cannot be made again ({e}); save it anew.") from e
    model.card = card
    return model


def _tensors(model: Model | WordVectors) -> dict[str, Tensor]:
    """What a file holds: contiguous tensors on the CPU, each in memory of its own."""
    if isinstance(model, WordVectors):
        return {
            "vectors": model.vectors.contiguous(),
            WORDS: torch.tensor(list("\n".join(model.words).encode()), dtype=torch.uint8),
        }
    if not isinstance(model, Model):
        raise InfwidthError(
            f"this is a {type(model).__name__}, and what is saved here are models of infwidth and word vectors; use "
            "torch.save for others."
        )
    return {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in model.state().items()}


def _card(found: Any) -> Card:
    """A card from what a file says, which may leave out what there is nothing to say of. ConfigError if it is none."""
    return loaded(Card, {**asdict(Card("")), **found} if isinstance(found, dict) else found, "card")


def _read(path: Path) -> tuple[Card, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as f:
            about = (f.metadata() or {}).get(CARD)
            if about is None:
                raise CheckpointError(f"{path} has no card of infwidth; give a file that infwidth.save has written.")
            return _card(json.loads(about)), {name: f.get_tensor(name) for name in f.keys()}
    except (OSError, SafetensorError, ValueError, ConfigError) as e:
        raise CheckpointError(f"{path} cannot be read ({e}); give a file that infwidth.save has written.") from e

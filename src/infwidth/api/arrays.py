"""What a caller hands over, tensors, numpy arrays or lists, as tensors that fit, or a sentence."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infwidth.errors import DataError

ArrayLike = Tensor | np.ndarray | Sequence[Any]
"""A torch tensor, or whatever numpy makes an array of numbers of."""

Labels = ArrayLike
"""Class labels (n,), whole numbers from 0, or numbers (n, k)."""

FLOATS = (torch.float32, torch.float64)


def as_tensor(value: ArrayLike, name: str) -> Tensor:
    """The value as a tensor; an array's memory is shared where that can be. DataError if it is not made of numbers."""
    if isinstance(value, Tensor):
        return value
    try:
        found = np.asarray(value)
        if found.dtype.kind not in "biuf":
            raise ValueError(f"it has the type {found.dtype}")
    except ValueError as e:
        raise DataError(f"{name} is no array of numbers ({e}); give a torch tensor or a numpy array.") from e
    if not found.flags.writeable or any(stride < 0 for stride in found.strides):
        found = found.copy()  # torch has no such tensors
    return torch.from_numpy(found if found.dtype.isnative else found.astype(found.dtype.newbyteorder("=")))


def floating(found: Tensor, like: Tensor | None = None) -> Tensor:
    """In the type and on the device of ``like``; without it, in the type it has if that is float32 or wider."""
    if like is not None:
        return found.to(device=like.device, dtype=like.dtype)
    return found if found.dtype in FLOATS else found.to(torch.get_default_dtype())


def matrix(value: ArrayLike, name: str, like: Tensor | None = None) -> Tensor:
    """Examples (n, d) in floating point. DataError for another number of dimensions, none, or what is not finite."""
    found = floating(as_tensor(value, name), like)
    if found.dim() != 2 or not found.numel():
        raise DataError(f"{name} has the shape {tuple(found.shape)}; give a matrix, a row for every example.")
    finite = torch.isfinite(found).all(1)
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise DataError(f"{name} has a number that is not finite in row {row}; leave such rows out or mend them.")
    return found


def labels(value: Labels, name: str, examples: int, classes: int | None, like: Tensor) -> Tensor:
    """Class labels (n,) int64 or numbers (n, k) of ``examples`` examples, on the device of ``like``.

    DataError if they are not as many, or do not lie in the k = ``classes``.
    """
    found = as_tensor(value, name)
    if found.dim() == 2:
        found = matrix(found, name, like)
        wanted = "" if classes is None else f" of {classes} numbers each"
        fits = classes is None or found.shape[1] == classes
    else:
        if found.dtype.is_floating_point or found.dtype == torch.bool or found.dim() != 1:
            raise DataError(
                f"{name} has the type {_type_of(found)} and the shape {tuple(found.shape)}; give "
                "class labels, whole numbers from 0 in one row, or a matrix of numbers with a row for every example."
            )
        found = found.to(device=like.device, dtype=torch.int64)
        wanted = "" if classes is None else f" from 0 to {classes - 1}"
        fits = not len(found) or (found.min() >= 0 and (classes is None or found.max() < classes))
    if len(found) != examples:
        raise DataError(f"{name} has {len(found)} entries for {examples} examples; give one for each.")
    if not fits:
        raise DataError(f"{name} does not fit the model; it must have labels{wanted}.")
    return found


def _type_of(found: Tensor) -> str:
    return str(found.dtype).removeprefix("torch.")


def targets(found: Tensor, classes: int, like: Tensor) -> Tensor:
    """What a squared loss is taken to: numbers (n, k) as they are, of labels (n,) the one-hot vectors minus 1/2."""
    return found if found.dim() == 2 else nn.functional.one_hot(found, classes).to(like.dtype) - 0.5


def like_given(found: Tensor, given: ArrayLike) -> Any:
    """A result as the caller gave its arguments: numpy for anything but a tensor."""
    return found if isinstance(given, Tensor) else found.cpu().numpy()


def reference(model: nn.Module) -> Tensor:
    """A tensor of the type and on the device that a model computes in."""
    found = next(model.parameters(), None)
    return next(model.buffers(), torch.zeros(())) if found is None else found


def inputs_as_tensors(model: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A hook before a model's call: arrays, and numbers of another type, become what the model computes with."""
    x, *rest = arguments
    return (floating(as_tensor(x, "x"), reference(model)), *rest)

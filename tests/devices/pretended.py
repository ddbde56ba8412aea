"""GPUs that are not there: tensors that say they are on ``cuda``, are computed on the CPU, and mix with none that are.

What torch offers for this does not carry a run. On a machine without a GPU a fake tensor on cuda (FakeTensorMode) has
no values, so that nothing that draws a minibatch, evaluates or concludes gets past its first ``.item()`` or
``nonzero()``; it cannot be differentiated, since autograd asks the driver for its device's stream; it is not what
``module.to("cuda")`` makes of a parameter; and a generator of the CPU that is to draw on cuda goes unnoticed. Tensors
on ``meta`` have no values either. So this is a tensor subclass that holds a tensor of the CPU, and two modes:

* :class:`_Names`, around every function of torch that Python calls, says ``meta`` to torch where ``cuda`` is named.
  Autograd and torch's own composite functions find pretended tensors on ``meta``, which needs no driver and is not
  the CPU: what they make for them, they make there.
* :class:`PretendedGPUs`, around every operator that torch comes to, computes it with the held tensors, and raises what
  CUDA raises. What Python asks a pretended tensor is answered for ``cuda``.

As on CUDA, a tensor without dimensions that lies on the CPU goes with every elementwise operator, an index that lies
there with every indexing, and ``copy_`` with everything; nothing else does. What this cannot tell is what only a GPU
can: whether it has an operator, is deterministic in it, or how it rounds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

CPU = torch.device("cpu")

FIRST = 64
"""What stands for ``cuda:0`` is ``meta:64``, for ``cuda:1`` the next; ``meta`` without a number is what it is."""

COPIES = {aten._to_copy, aten.copy_}
"""Operators that take tensors of several devices."""

INDEXINGS = {aten.index, aten.index_put, aten.index_put_}
"""Operators whose indices, their second argument, may lie on the CPU."""

FILLINGS = {aten.index_put, aten.index_put_, aten.masked_fill, aten.masked_fill_, aten.fill_}
"""Operators beside the elementwise ones that take a tensor without dimensions from the CPU."""

WAITED_FOR = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
"""What torch says of operators whose result the host has to see before it goes on."""

OF_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray}
"""Functions that make a tensor of the host's numbers, and on ``meta`` would lose them."""

OF_INDICES = {Tensor.__getitem__, Tensor.__setitem__}
"""Functions that make one of an index's numbers, likewise."""


class PretendedTensor(Tensor):
    """Says that it is on a GPU. held: the tensor that it is computed with; number: of the GPU."""

    held: Tensor
    number: int

    @staticmethod
    def __new__(cls, held: Tensor, number: int):
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device("meta", FIRST + number),
        )
        made.held, made.number = held, number
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operator, types, arguments=(), options=None):
        raise RuntimeError(f"{operator} is asked of a tensor whose pretended GPU is gone")

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.number)

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_meta(self) -> bool:
        return False

    def untyped_storage(self):
        return self.held.untyped_storage()

    def numpy(self, *, force: bool = False):
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )

    def __array__(self, *_):
        return self.numpy()

    def tolist(self):
        return self.cpu().tolist()

    def __repr__(self, **_) -> str:
        return f"PretendedTensor({tuple(self.shape)}, {self.dtype}, {self.device})"


def _told(value: Any) -> Any:
    """What torch is told of an argument: of the device cuda that it is meta."""
    if isinstance(value, str) and value.startswith("cuda"):
        value = torch.device(value)
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("meta", FIRST + (value.index or 0))
    return value


def _meant(device: torch.device) -> torch.device:
    """The device that torch was told of."""
    pretended = device.type == "meta" and device.index is not None
    return torch.device("cuda", device.index - FIRST) if pretended else device


def _index(value: Any) -> Any:
    """An index, its lists of numbers as tensors of the CPU."""
    if isinstance(value, tuple):
        return tuple(_index(part) for part in value)
    return torch.tensor(value) if isinstance(value, list) else value


class _Names(TorchFunctionMode):
    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function is torch.device:
            return function(*arguments, **options)
        arguments, options = [_told(a) for a in arguments], {k: _told(v) for k, v in options.items()}
        if function in OF_INDICES:
            arguments[1] = _index(arguments[1])
        if function in OF_NUMBERS and options.get("device") is not None:
            device = options.pop("device")
            return function(*arguments, **options).to(device)
        return function(*arguments, **options)


class Waited(RuntimeError):
    """The host waits for a GPU where it should not."""


class PretendedGPUs(TorchDispatchMode):
    """Computes what is asked of pretended tensors. may_wait: whether the host may wait for a GPU."""

    may_wait = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # what skipping it takes is longer than most operators here

    @contextmanager
    def waiting(self, allowed: bool) -> Iterator[None]:
        """Where it is not allowed, Waited as soon as the host reads a value, copies between CPU and GPU, or needs to
        know how much was found."""
        before, self.may_wait = self.may_wait, allowed
        try:
            yield
        finally:
            self.may_wait = before

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        options = options or {}
        asked = _meant(options.get("device") or CPU)
        if not types and asked.type != "cuda":
            return operator(*arguments, **options)  # nothing of it is pretended
        leaves = [*_leaves(arguments), *_leaves(options.values())]
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        device = _device(operator, arguments, options, tensors)
        for generator in (leaf for leaf in leaves if isinstance(leaf, torch.Generator)):
            if generator.device.type != device.type:
                raise RuntimeError(
                    f"Expected a '{device.type}' device type for generator but found '{generator.device.type}'"
                )
        if not self.may_wait and _waits(operator, arguments, options, tensors, device):
            raise Waited(f"the host waits for a GPU at {operator} of {[tuple(t.shape) for t in tensors]}")
        found = operator(*_mapped(_held, arguments), **{k: _mapped(_held, v) for k, v in options.items()})
        if torch.Tag.inplace_view in operator.tags:  # the shape that torch sees changes too
            with no_dispatch():
                operator(*arguments, **options)
        given = {id(t.held): t for t in tensors if isinstance(t, PretendedTensor)}  # what is written to comes back
        return _mapped(lambda value: given[id(value)] if id(value) in given else _placed(value, device), found)


def _leaves(values) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _leaves(value)
        else:
            yield value


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """A value, the parts of lists and tuples one by one."""
    if isinstance(value, (list, tuple)):
        return type(value)([_mapped(function, part) for part in value])
    return function(value)


def _held(value: Any) -> Any:
    """What an argument is on the CPU."""
    if isinstance(value, PretendedTensor):
        return value.held
    return CPU if isinstance(value, torch.device) else value


def _placed(value: Any, device: torch.device) -> Any:
    return PretendedTensor(value, device.index) if isinstance(value, Tensor) and device.type == "cuda" else value


def _device(operator, arguments: Sequence, options: Mapping, tensors: list[Tensor]) -> torch.device:
    """Where an operator puts what it finds. RuntimeError, as on CUDA, where its tensors do not go together."""
    asked = options.get("device")
    if operator.overloadpacket in COPIES:
        found = tensors[0].device
    else:
        found = next((t.device for t in tensors if t.device != CPU), CPU)
        excused = {id(t) for t in _taken_from_the_cpu(operator, arguments, options, tensors)}
        for t in tensors:
            if t.device != found and not (t.device == CPU and id(t) in excused):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, {found} and "
                    f"{t.device}, in {operator}"
                )
    return found if asked is None else _meant(asked)


def _taken_from_the_cpu(operator, arguments: Sequence, options: Mapping, tensors: list[Tensor]) -> Iterator[Tensor]:
    """Those tensors of an operator that may lie on the CPU where the others are on a GPU."""
    packet = operator.overloadpacket
    if packet in INDEXINGS:
        yield from _leaves(arguments[1])
    if packet in FILLINGS or torch.Tag.pointwise in operator.tags:
        known = operator._schema.arguments
        given = {about.name: value for about, value in zip(known, arguments, strict=False)} | options
        written = {id(given.get(about.name)) for about in known if about.is_write}
        yield from (t for t in tensors if not t.dim() and id(t) not in written)


def _waits(operator, arguments: Sequence, options: Mapping, tensors: list[Tensor], device: torch.device) -> bool:
    """Whether the host waits for a GPU at this operator, that puts what it finds on ``device``."""
    packet = operator.overloadpacket
    devices = {t.device for t in tensors if t.dim() or packet in COPIES} | {device}
    if len(devices) > 1 or devices == {CPU}:
        return len(devices) > 1  # a copy, be it of an index
    if packet in INDEXINGS:
        return any(t.dtype in (torch.bool, torch.uint8) for t in _leaves(arguments[1]) if t is not None)
    return bool(WAITED_FOR & set(operator.tags)) and options.get("output_size") is None


@contextmanager
def pretended_gpus(number: int = 2) -> Iterator[PretendedGPUs]:
    """So many GPUs, and what torch.cuda says of them."""
    with pytest.MonkeyPatch.context() as patch:
        _describe(patch, number)
        with _Names(), PretendedGPUs() as gpus:
            yield gpus


def _describe(patch: pytest.MonkeyPatch, number: int) -> None:
    """What torch.cuda says; asked of none in particular it speaks of the first GPU, the current one."""
    size = 1 << 34

    def answering(answer):
        def function(device=None):
            device = torch.device("cuda" if device is None else device)
            if device.type != "cuda" or (device.index or 0) >= number:
                raise ValueError(f"Expected a cuda device, but got: {device}")
            return answer(device.index or 0)

        return function

    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "device_count", lambda: number)
    patch.setattr(torch.cuda, "synchronize", answering(lambda i: None))
    patch.setattr(torch.cuda, "mem_get_info", answering(lambda i: (size, size)))
    patch.setattr(torch.cuda, "reset_peak_memory_stats", answering(lambda i: None))
    patch.setattr(torch.cuda, "max_memory_allocated", answering(lambda i: 1000 + i))
    about = answering(lambda i: SimpleNamespace(name=f"pretended GPU {i}", total_memory=size))
    patch.setattr(torch.cuda, "get_device_properties", about)

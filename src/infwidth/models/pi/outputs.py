"""Outputs of a pi-limit inside torch's autograd.

A gradient by the inputs is a tensor like any other. One by the parameters is not of their shape: it is an update, rows
to append. ``loss.backward()`` computes it and leaves it with the model, from where :class:`infwidth.SGD` takes it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from infwidth.models.pi.limit import PiLimit


@dataclass
class Call:
    """One forward pass: the net, its inputs (n, d), and whether they are differentiated by; the cotangent (n, k) of
    its outputs once that is known."""

    net: "PiLimit"
    x: Tensor
    of_inputs: bool
    cotangent: Tensor | None = None


class Parameters(torch.autograd.Function):
    """Stands for all parameters in autograd's graph: a number that outputs are made to depend on.

    Its backward runs where a gradient by parameters is asked for and nowhere else, as in ``torch.autograd.grad(f, x)``.
    """

    @staticmethod
    def forward(ctx, A1: Tensor, call: Call) -> Tensor:
        ctx.call = call
        return A1.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx, _: Tensor) -> tuple[None, None]:
        call = ctx.call
        if call.net.received is not None or not call.of_inputs:
            call.net.receive(call.x, call.cotangent)
        return None, None


class Outputs(torch.autograd.Function):
    """f (n, k) of inputs (n, d); parameters: the number that stands for them."""

    @staticmethod
    def forward(ctx, x: Tensor, parameters: Tensor, call: Call) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(x, call.net.A1)  # A1 changes with every step, and autograd notices
        return call.net.outputs(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, cotangent: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, _ = ctx.saved_tensors
        ctx.call.cotangent = cotangent
        at_input = ctx.call.net.input_cotangent(x, cotangent) if ctx.needs_input_grad[0] else None
        return at_input, cotangent.new_zeros(()), None


def outputs(net: "PiLimit", x: Tensor) -> Tensor:
    """f (n, k) of inputs (n, d), differentiable by them, and by the parameters as the module says."""
    call = Call(net, x.detach(), x.requires_grad)
    return Outputs.apply(x, Parameters.apply(net.A1, call), call)

"""Outputs of a pi-limit inside torch's autograd: differentiable by the inputs, and by no parameter.

A gradient by the parameters is not of their shape: it is rows to append, an update. So ``loss.backward()`` says what to
call instead.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from infwidth.models.pi.limit import PiLimit


class Outputs(torch.autograd.Function):
    """f (n, k) of inputs (n, d); A1 is handed over so that backward is asked even where no input is differentiable."""

    @staticmethod
    def forward(ctx, x: Tensor, A1: Tensor, net: "PiLimit") -> Tensor:
        ctx.net = net
        ctx.save_for_backward(x, A1)  # A1 changes with every step, and autograd notices
        return net.outputs(x)

    @staticmethod
    @once_differentiable
    def backward(ctx, cotangent: Tensor) -> tuple[Tensor, None, None]:
        if not ctx.needs_input_grad[0]:
            raise RuntimeError(
                "a pi-limit's gradient is rows to append, which loss.backward() has no place for; take "
                "outputs, pullback = net.linearized(x) and net.apply_update(pullback(d loss / d outputs), rate)."
            )
        x, _ = ctx.saved_tensors
        return ctx.net.input_cotangent(x, cotangent), None, None

"""Losses as value and cotangent. A loss is a mean over the examples of one episode or batch (design section 3.6)."""

import torch
from torch import Tensor


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy (...,) of outputs (..., examples, k) and labels (..., examples): the mean over examples."""
    chosen = outputs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return (torch.logsumexp(outputs, -1) - chosen).mean(-1)


def cross_entropy_cotangent(outputs: Tensor, labels: Tensor) -> Tensor:
    """d cross_entropy / d outputs = (softmax - onehot) / examples, differentiable, same shape as outputs."""
    onehot = torch.zeros_like(outputs).scatter_(-1, labels.unsqueeze(-1), 1)
    return (torch.softmax(outputs, -1) - onehot) / outputs.shape[-2]


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of examples (...,) whose largest output is that of the label."""
    return (outputs.argmax(-1) == labels).to(outputs.dtype).mean(-1)

"""Losses as value and cotangent, and accuracies. A loss is a mean over the examples of one episode or batch."""

import torch
from torch import Tensor


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Softmax cross-entropy (...,) of outputs (..., examples, k) and labels (..., examples): the mean over examples."""
    return -torch.log_softmax(outputs, -1).gather(-1, labels.unsqueeze(-1)).squeeze(-1).mean(-1)


def cross_entropy_cotangent(outputs: Tensor, labels: Tensor) -> Tensor:
    """d cross_entropy / d outputs = (softmax - onehot) / examples, differentiable, same shape as outputs."""
    share = 1 / outputs.shape[-2]
    minus = torch.full_like(labels, -share, dtype=outputs.dtype).unsqueeze(-1)
    return (torch.softmax(outputs, -1) * share).scatter_add(-1, labels.unsqueeze(-1), minus)


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of examples (...,) whose largest output is that of the label, in float64 so that counts stay exact."""
    return (outputs.argmax(-1) == labels).double().mean(-1)


def mean_accuracy(each: Tensor) -> dict[str, float]:
    """The mean of accuracies (n,) of examples or episodes, and its standard error where there are several."""
    found = {"accuracy": each.mean().item()}
    if len(each) > 1:
        found["accuracy_standard_error"] = (each.std() / len(each) ** 0.5).item()
    return found

"""GPUs that are not there mix with the CPU as CUDA does: what goes together, what does not, and what is waited for."""

import numpy as np
import pytest
import torch
from torch import nn

from infwidth.gaussian import relu_v
from tests.devices.pretended import Waited, pretended_gpus

PLACES, ROW = torch.tensor([0, 2]), torch.ones(4)


@pytest.fixture
def gpus():
    with pretended_gpus() as gpus:
        yield gpus


@pytest.fixture
def x(gpus):
    return torch.arange(12.0, device="cuda").reshape(3, 4)


def derivative(x):
    y = x.div(20).requires_grad_()
    return torch.autograd.grad(relu_v(y).sum(), [y])[0]


def with_row(x, row):
    found = x.clone()
    found[0] = row
    return found


GOES = {
    "with a scalar of the CPU": lambda x: x * torch.tensor(2.0),
    "or a scalar of the CPU": lambda x: torch.where(x > 1, x, torch.tensor(0.0)),
    "filled with a scalar of the CPU": lambda x: x.masked_fill(x > 1, torch.tensor(0.0)),
    "by an index of the CPU": lambda x: x[PLACES],
    "by a list": lambda x: x[:, [0, 1]],
    "with a row of the CPU": lambda x: with_row(x, ROW),
    "copied from the CPU": lambda x: torch.zeros_like(x).copy_(torch.ones(3, 4)),
    "copied from another GPU": lambda x: torch.ones(3, device="cuda:1").to(x.device),
    "new": lambda x: x.new_ones(3),
    "of numbers": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "one-hot": lambda x: nn.functional.one_hot(x[0].long(), 4),
    "written to": lambda x: torch.sub(x, 1, out=torch.empty_like(x)),
    "reshaped in place": lambda x: (x[0] @ x.mT).unsqueeze_(0) @ x,
    "factorised": lambda x: torch.linalg.qr(x).Q.abs(),
    "differentiated": derivative,
}


@pytest.mark.parametrize("way", GOES)
def test_what_goes_is_on_the_gpu_and_has_the_values_of_the_cpu(way, x):
    found = GOES[way](x)
    assert found.device == torch.device("cuda", 0) and torch.equal(found.cpu(), GOES[way](x.cpu()).cpu())


TOGETHER = "Expected all tensors to be on the same device"

DOES_NOT_GO = {
    "added": (lambda x: x + torch.ones(3, 4), RuntimeError, f"{TOGETHER}.*cuda:0 and cpu"),
    "multiplied": (lambda x: torch.ones(2, 3) @ x, RuntimeError, TOGETHER),
    "joined": (lambda x: torch.cat([x, ROW[None]]), RuntimeError, TOGETHER),
    "stacked with a scalar": (lambda x: torch.stack([x.sum(), torch.tensor(1.0)]), RuntimeError, TOGETHER),
    "added to the CPU's": (lambda x: torch.ones(3).add_(x.sum()), RuntimeError, TOGETHER),
    "added to the CPU's scalar": (lambda x: torch.tensor(1.0).add_(x.sum()), RuntimeError, TOGETHER),
    "written to the CPU's scalar": (lambda x: torch.add(x.sum(), 1, out=torch.tensor(0.0)), RuntimeError, TOGETHER),
    "indexing the CPU's": (lambda x: ROW[x[0].long()], RuntimeError, TOGETHER),
    "gathered": (lambda x: x.gather(1, PLACES[:, None]), RuntimeError, TOGETHER),
    "of the other GPU": (lambda x: x + torch.ones(4, device="cuda:1"), RuntimeError, f"{TOGETHER}.*cuda:0 and cuda:1"),
    "drawn": (
        lambda x: torch.randperm(3, generator=torch.Generator(), device=x.device),
        RuntimeError,
        "Expected a 'cuda' device type for generator but found 'cpu'",
    ),
    "made an array": (lambda x: x.numpy(), TypeError, "can't convert cuda:0 device type tensor to numpy"),
    "taken for an array": (np.asarray, TypeError, "can't convert cuda:0 device type tensor to numpy"),
}


@pytest.mark.parametrize("way", DOES_NOT_GO)
def test_what_does_not_go_says_so(way, x):
    does, error, said = DOES_NOT_GO[way]
    with pytest.raises(error, match=said):
        does(x)


WAITED_FOR = {
    "a number": lambda x: x.sum().item(),
    "numbers": lambda x: x.tolist(),
    "a condition": lambda x: bool((x > 1).any()),
    "a copy": lambda x: x.cpu(),
    "what is copied": lambda x: torch.tensor(1.0, device=x.device),
    "an index that is copied": lambda x: x[PLACES],
    "those found": lambda x: x[x > 1],
    "their places": lambda x: (x > 1).nonzero(),
    "those that differ": torch.unique,
}
NOT_WAITED_FOR = {
    "a sum": lambda x: x.sum() * torch.tensor(2.0),
    "what is filled": lambda x: torch.full((), 3.5, device=x.device),
    "a choice": lambda x: torch.where(x > 1, x, 0),
    "a place": lambda x: with_row(x, 0),
    "what is on the CPU": lambda x: torch.unique(ROW).tolist(),
}


@pytest.mark.parametrize("what", WAITED_FOR)
def test_what_is_waited_for(what, x, gpus):
    with gpus.waiting(False), pytest.raises(Waited):
        WAITED_FOR[what](x)
    WAITED_FOR[what](x)


@pytest.mark.parametrize("what", NOT_WAITED_FOR)
def test_what_is_not_waited_for(what, x, gpus):
    with gpus.waiting(False):
        NOT_WAITED_FOR[what](x)


def test_a_module_moves_with_its_values_and_back(gpus):
    net = nn.Linear(4, 2)
    values = net.weight.detach().clone()
    net.to("cuda:1")
    assert isinstance(net.weight, nn.Parameter) and net.weight.device == torch.device("cuda", 1)
    assert torch.equal(net.double().cpu().weight.float(), values)


def test_meta_stays_what_it_is(gpus, x):
    empty = torch.empty(3, 4, device="meta")
    assert (empty * 2).is_meta and type(empty) is torch.Tensor
    with pytest.raises(RuntimeError, match=TOGETHER):
        x + empty


def test_without_its_gpu_a_tensor_is_of_no_use():
    with pretended_gpus():
        x = torch.ones(2, device="cuda")
    with pytest.raises(RuntimeError, match="pretended GPU is gone"):
        x + 1

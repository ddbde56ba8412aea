"""A step on the rows that a minibatch touches is a step of the whole network, and of its kernel limit."""

import dataclasses

import pytest
import torch

from infwidth.errors import ConfigError
from infwidth.models import linear
from infwidth.models.bags import Bags
from infwidth.models.kernel import BagKernelMachine, Kernel
from infwidth.parametrization import named
from infwidth.tasks.word2vec import cbow
from tests.tasks.word2vec.helpers import V, batch_of, generator


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("alpha, parametrization", [(0.0, "mup"), (0.7, "ntk")])
def test_the_step_on_touched_rows_is_autograd_of_the_whole_network(shared, alpha, parametrization):
    net = linear.finite(5, V, V, 1.0, 0.8, alpha, named(parametrization, 1), generator(), torch.float64, bags=True)
    with torch.no_grad():
        net.b.normal_(generator=generator(1))
    batch, drawn = batch_of(shared)
    x = torch.zeros(6, V, dtype=torch.float64).index_copy(1, batch.context.words, batch.context.means.dense())
    outputs = net(x)
    f, pullback = net.linearized(batch.context, batch.asked)
    torch.testing.assert_close(f, batch.asked.among(outputs[:, batch.asked.rows]).detach())
    target = batch.asked.rows[batch.asked.own]
    log = torch.nn.functional.logsigmoid
    plain = -log(outputs[torch.arange(6), target]).sum()
    for i in range(6):
        for n in drawn[i].tolist():
            if n != target[i]:
                plain = plain - log(-outputs[i, n]) * 5 / drawn.shape[-1]
    plain.backward()
    torch.testing.assert_close(cbow.loss(f, batch) * 6, plain.detach())
    update = pullback(cbow.cotangent(f, batch))
    before = {k: v.detach().clone() for k, v in net.named_parameters()}
    for name, norm in update.norms().items():
        torch.testing.assert_close(norm, getattr(net, name).grad.norm())
    net.apply_update(update, 0.3)
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] - 0.3 * p.grad if alpha or name != "b" else before[name])
    halved = pullback(cbow.cotangent(f, batch)).scaled(
        {"U": torch.tensor(0.5), "V": torch.tensor(0.5), "b": torch.tensor(0.5)}
    )
    torch.testing.assert_close(halved.norms()["U"], update.norms()["U"] / 2)


def test_decay_touches_the_touched_rows_once_for_each_touch():
    net = linear.finite(5, V, V, 1.0, 0.8, 0.0, named("mup", 1), generator(), torch.float64, bags=True)
    batch, _ = batch_of(True)
    f, pullback = net.linearized(batch.context, batch.asked)
    update, before = pullback(torch.zeros_like(f)), {k: v.detach().clone() for k, v in net.named_parameters()}
    net.apply_update(update, rate=0.5, decay=0.1)
    kept_U, kept_V = torch.ones(V, dtype=torch.float64), torch.ones(V, dtype=torch.float64)
    kept_U[batch.context.words] = 0.95**batch.context.touches
    kept_V[batch.asked.rows] = 0.95**batch.asked.touches
    torch.testing.assert_close(net.U.detach(), before["U"] * kept_U)
    torch.testing.assert_close(net.V.detach(), before["V"] * kept_V[:, None])


@pytest.mark.parametrize("tangent", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_the_kernel_limit_is_the_network_whose_embeddings_stay(tangent, decay):
    """With V = 0 and U = sigma_u I held fixed, and for the NTK kappa = sigma_u^2 + sigma_v^2 in place of sigma_u^2."""
    kernel = Kernel("linear", tangent, sigma_u=1.3, sigma_v=0.6, sigma_b=0.0)
    machine = BagKernelMachine(kernel, V, V, torch.float64)
    net = linear.mu_limit(V, V, kernel.of_one_hots**0.5, 0.0, 0.0, torch.float64, bags=True)
    U = net.U.detach().clone()
    for t in range(6):
        batch, _ = batch_of(t % 2 == 0, t)
        results = []
        for model in (machine, net):
            f, pullback = model.linearized(batch.context, batch.asked)
            model.apply_update(pullback(cbow.cotangent(f, batch)), 0.3, decay)
            results.append(f)
        net.U.data.copy_(U)
        torch.testing.assert_close(*results)
    assert results[0].abs().max() > 0.05
    x = torch.eye(V, dtype=torch.float64)
    torch.testing.assert_close(machine(x), net(x).detach())
    torch.testing.assert_close(machine.features(Bags.single(torch.arange(V))), 1.3 * x)


def test_the_kernel_limit_bears_a_long_decay():
    """In float32, after decay has left nothing of the first coefficients: the network's f all the same."""
    machine, net = (
        BagKernelMachine(Kernel("linear", False, 1.0, 0.0, 0.0), V, V),
        linear.mu_limit(V, V, 1.0, 0.0, 0.0, bags=True),
    )
    for t in range(60):
        batch, _ = batch_of(True, t, dtype=torch.float32)
        for model in (machine, net):
            f, pullback = model.linearized(
                batch.context, dataclasses.replace(batch.asked, touches=30 * batch.asked.touches)
            )
            model.apply_update(pullback(cbow.cotangent(f, batch)), 0.3, 0.2)
        net.U.data.copy_(torch.eye(V))
    assert machine.kept.min() > 1e-7
    torch.testing.assert_close(machine(torch.eye(V)), net(torch.eye(V)).detach(), rtol=1e-3, atol=1e-4)


def test_the_kernel_limit_takes_the_linear_kernel_only():
    with pytest.raises(ConfigError, match="set model.activation=linear and model.sigma_b=0"):
        BagKernelMachine(Kernel("relu", False, 1.0, 1.0, 0.0), V, V)

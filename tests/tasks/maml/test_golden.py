"""MAML against the recorded trajectories of golden/maml, meta-step by meta-step."""

import numpy as np
import pytest
import torch

from infwidth.models import linear
from infwidth.models.kernel import Kernel, KernelMachine
from infwidth.tasks.losses import accuracy, cross_entropy, cross_entropy_cotangent
from infwidth.training.clipping import clipped
from tests.conftest import golden_files, load_golden


def episodes(z, prefix, step=None):
    parts = [torch.from_numpy(z[f"{prefix}{k}"]) for k in ("support_x", "support_y", "query_x", "query_y")]
    return parts if step is None else [p[step] for p in parts]


def adapt(model, z, support_x, support_y, steps, losses=None):
    def cotangent(outputs):
        if losses is not None:
            losses.append(cross_entropy(outputs, support_y).detach())
        return cross_entropy_cotangent(outputs, support_y)

    return model.adapted(support_x, cotangent, z["cfg_inner_lr"], steps, second_order=not z["cfg_first_order"])


def build_linear(z):
    d, k = z["support_x"].shape[-1], z["query_logits"].shape[-1]
    net = linear.mu_limit(d, k, z["cfg_sigma1"], z["cfg_sigma2"], z["cfg_bias_alpha"], torch.float64)
    if z["cfg_width"] > 0:
        net = linear.sampled(net, z["cfg_width"], None, omega=torch.from_numpy(z["omega"]))
    return net


@pytest.mark.parametrize("path", golden_files("maml/linear_[fm]*.npz"))
def test_linear_networks_follow_the_recorded_meta_training(path):
    z = load_golden(path)
    net = build_linear(z)
    close = dict(rtol=1e-9, atol=1e-11)
    for t in range(len(z["support_x"])):
        for name in ("U", "V", "b"):
            np.testing.assert_allclose(getattr(net, name).detach(), z[f"traj_{name}"][t], **close)
        support_x, support_y, query_x, query_y = episodes(z, "", t)
        np.testing.assert_allclose(accuracy(net(support_x), support_y).detach(), z["accuracy_before"][t], atol=1e-6)
        losses = []
        adapted = adapt(net, z, support_x, support_y, z["cfg_inner_steps"], losses)
        outputs, pullback = adapted.linearized(query_x)
        np.testing.assert_allclose(torch.stack(losses, -1), z["inner_losses"][t], **close)
        np.testing.assert_allclose(outputs, z["query_logits"][t], **close)
        np.testing.assert_allclose(cross_entropy(outputs, query_y), z["outer_losses"][t], **close)
        np.testing.assert_allclose(accuracy(outputs, query_y), z["accuracy_after"][t], atol=1e-6)
        update = pullback(cross_entropy_cotangent(outputs, query_y))
        update, norm = clipped(update, z["cfg_grad_clip"], "global")
        np.testing.assert_allclose(norm, z["grad_norm"][t], **close)
        for name in ("U", "V", "b"):
            np.testing.assert_allclose(update[name].detach(), z[f"clipped_{name}"][t], **close)
        net.apply_update(update, z["cfg_meta_lr"])
    np.testing.assert_allclose(net.U.detach(), z["traj_U"][-1], **close)
    support_x, support_y, query_x, query_y = episodes(z, "eval_")
    outputs = adapt(net, z, support_x, support_y, z["cfg_eval_steps"])(query_x)
    np.testing.assert_allclose(outputs, z["eval_query_logits"], **close)
    np.testing.assert_allclose(accuracy(outputs, query_y), z["eval_accuracy"], atol=1e-6)


@pytest.mark.parametrize("path", golden_files("maml/*relu_*.npz") + golden_files("maml/linear_kernel_*.npz"))
def test_kernel_limits_follow_the_recorded_meta_training(path):
    z = load_golden(path)
    kernel = Kernel(
        "relu" if "relu" in path.stem else "linear",
        "ntk" in path.stem,
        z["cfg_sigma1"],
        z["cfg_sigma2"],
        z["cfg_sigmab"],
    )
    d, k = z["support_x"].shape[-1], z["query_logits"].shape[-1]
    machine = KernelMachine(kernel, d, k, torch.float64)
    probe, close = torch.from_numpy(z["probe_x"]), dict(rtol=1e-9, atol=1e-7)
    for t in range(len(z["support_x"])):
        np.testing.assert_allclose(machine(probe), z["traj_probe_f"][t], **close)
        support_x, support_y, query_x, query_y = episodes(z, "", t)
        losses = []
        outputs, pullback = adapt(machine, z, support_x, support_y, z["cfg_inner_steps"], losses).linearized(query_x)
        np.testing.assert_allclose(torch.stack(losses, -1), z["inner_losses"][t], **close)
        np.testing.assert_allclose(outputs, z["query_logits"][t], **close)
        np.testing.assert_allclose(cross_entropy(outputs, query_y), z["outer_losses"][t], **close)
        np.testing.assert_allclose(accuracy(outputs, query_y), z["accuracy_after"][t], atol=1e-6)
        delta = cross_entropy_cotangent(outputs, query_y)
        np.testing.assert_allclose(delta, z["meta_delta"][t], **close)
        update = pullback(delta)
        before = update.derivative
        update, norm = clipped(update, z["cfg_grad_clip"], "global")
        np.testing.assert_allclose(norm, z["grad_norm"][t], **close)
        np.testing.assert_allclose(update.derivative, before * z["clip_ratio"][t], **close)
        machine.apply_update(update, z["cfg_meta_lr"])
    np.testing.assert_allclose(machine(probe), z["traj_probe_f"][-1], **close)
    support_x, support_y, query_x, query_y = episodes(z, "eval_")
    outputs = adapt(machine, z, support_x, support_y, z["cfg_eval_steps"])(query_x)
    np.testing.assert_allclose(outputs, z["eval_query_logits"], **close)
    np.testing.assert_allclose(accuracy(outputs, query_y), z["eval_accuracy"], atol=1e-6)

"""MAML of the pi-limit against the recorded numbers (tests/golden/pilim)."""

import json
import math

import numpy as np
import pytest
import torch

from infwidth.models.mlp import MLP, Factors
from infwidth.models.pi import PiLimit
from infwidth.models.pi.growing import GrowingLayer
from infwidth.tasks.losses import cross_entropy, cross_entropy_cotangent
from infwidth.training.clipping import clipped
from tests.conftest import golden_files

TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


def model_of(z, h):
    L, t = h["L"], lambda k: torch.tensor(z[k])
    factors = Factors(
        h["first_layer_alpha"],
        h["last_layer_alpha"],
        h["bias_alpha"],
        h["last_bias_alpha"],
        h["first_layer_lr_mult"],
        h["last_layer_lr_mult"],
        h["bias_lr_mult"],
    )
    layers = [
        GrowingLayer(t(f"A{l}_init"), t(f"B{l}_init"), t(f"Amult{l}_init"), torch.float64, block=8)
        for l in range(2, L + 2)
    ]
    return PiLimit(
        t("A1_init"), layers, [t(f"bias{l}_init") for l in range(1, L + 2)], factors, not h["readout_fixed_at_zero"]
    )


@pytest.mark.parametrize("file", golden_files("pilim/inf_maml_traj_*.npz"))
def test_meta_steps(file):
    z = dict(np.load(file, allow_pickle=False))
    h = json.loads(str(z["hyper_json"]))
    net, L = model_of(z, h), h["L"]
    which = "readout" if h["adapt_readout_only"] else "hidden" if h["no_adapt_readout"] else "all"
    for t in range(h["T"]):
        xs, ys, xq, yq = (torch.tensor(z[f"{k}_{t}"]) for k in ("train_x", "train_y", "test_x", "test_y"))
        ys, yq = ys.long(), yq.long()
        seen = []

        def cotangent(f, ys=ys, seen=seen):
            seen.append(f.detach())
            return cross_entropy_cotangent(f, ys)

        adapted = net.adapted(xs, cotangent, h["step_size"], h["num_steps"], not h["first_order"], which)
        out, pullback = adapted.linearized(xq)
        np.testing.assert_allclose(torch.stack(seen[-h["num_steps"] :]), z[f"inner_logits_{t}"], **TOLERANCE)
        np.testing.assert_allclose(out, z[f"outer_logits_{t}"], **TOLERANCE)
        np.testing.assert_allclose(cross_entropy(out, yq), z[f"outer_losses_{t}"], **TOLERANCE)
        update = pullback(cross_entropy_cotangent(out, yq))
        np.testing.assert_allclose(update.first, z[f"meta{t}_dA1"], **TOLERANCE)
        for l in range(2, L + 2):
            A, B = update.rows[l]
            np.testing.assert_allclose(A, z[f"meta{t}_dA{l}"], **TOLERANCE, err_msg=f"A{l}")
            np.testing.assert_allclose(B, z[f"meta{t}_dB{l}"], **TOLERANCE, err_msg=f"B{l}")
        for l in range(1, L + 2):
            np.testing.assert_allclose(update.biases[l], z[f"meta{t}_dbias{l}"], **TOLERANCE, err_msg=f"b{l}")
        norms = update.norms()
        for name, recorded in zip(h["gnorm_names"], z[f"meta{t}_gnorms"], strict=True):
            key = name.replace("weight.", "A").replace("bias.", "b")
            if key in norms:
                np.testing.assert_allclose(norms[key], recorded, **TOLERANCE)
        used = math.sqrt(sum(float(n) ** 2 for n in norms.values()))
        if not h["gclip_per_param"]:
            np.testing.assert_allclose(used, z[f"meta{t}_gnorm_used"], **TOLERANCE)
        if h["grad_clip"]:
            update, _ = clipped(update, h["grad_clip"], "parameter" if h["gclip_per_param"] else "global")
        net.apply_update(update, float(z[f"meta{t}_lr"]), h["wd"])
    np.testing.assert_allclose(net(torch.tensor(z["X_probe"])).detach(), z["probe_logits_final"], **TOLERANCE)
    np.testing.assert_allclose(net.features(torch.tensor(z["X_probe"])), z["probe_gL_final"], **TOLERANCE)


@pytest.mark.parametrize("file", golden_files("pilim/fin_maml_traj_*.npz"))
def test_finite_meta_steps(file):
    z = dict(np.load(file, allow_pickle=False))
    h = json.loads(str(z["hyper_json"]))
    L, t = h["L"], lambda k: torch.tensor(z[k])
    frozen = h["last_layer_lr_mult"] == 0
    factors = Factors(
        h["first_layer_alpha"],
        1.0,
        h["bias_alpha"],
        h["last_bias_alpha"],
        h["first_layer_lr_mult"],
        h["last_layer_lr_mult"],
        h["bias_lr_mult"],
    )
    multipliers = factors.multipliers(L, frozen_readout=frozen)
    omegas = [t(f"omega{l}") for l in range(1, L + 1)] if h["Gproj_outer"] else []
    biases = [t(f"b{l}_init") if c else None for l, c in enumerate(multipliers.biases, start=1)]
    net = MLP([t(f"W{l}_init") for l in range(1, L + 2)], biases, multipliers, "relu", omegas)
    which = "readout" if h["adapt_readout_only"] else "hidden" if h["no_adapt_readout"] else "all"
    for step in range(h["T"]):
        xs, ys, xq, yq = (t(f"{k}_{step}") for k in ("train_x", "train_y", "test_x", "test_y"))
        adapted = net.adapted(
            xs,
            lambda f, ys=ys: cross_entropy_cotangent(f, ys.long()),
            h["step_size"],
            h["num_steps"],
            not h["first_order"],
            which,
        )
        out, pullback = adapted.linearized(xq)
        np.testing.assert_allclose(out, z[f"outer_logits_{step}"], **TOLERANCE)
        np.testing.assert_allclose(adapted(xq), out)
        update = pullback(cross_entropy_cotangent(out, yq.long()))
        if step == 0:
            for name, g in update.gradients.items():
                np.testing.assert_allclose(
                    g, z[f"meta0_grad{name[0].upper() if name[0] == 'w' else 'b'}{name[1:]}"], **TOLERANCE, err_msg=name
                )
        if h["grad_clip"]:
            update, _ = clipped(update, h["grad_clip"], "parameter" if h["gclip_per_param"] else "global")
        net.apply_update(update, float(z[f"meta{step}_lr"]))
    for l in range(1, L + 2):
        np.testing.assert_allclose(getattr(net, f"w{l}").detach(), z[f"W{l}_final"], **TOLERANCE, err_msg=f"W{l}")
        if biases[l - 1] is not None:
            np.testing.assert_allclose(getattr(net, f"b{l}").detach(), z[f"b{l}_final"], **TOLERANCE, err_msg=f"b{l}")

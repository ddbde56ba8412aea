"""Trajectories of the pi-limit against the recorded numbers of the authors' implementation (tests/golden/pilim)."""

import json

import numpy as np
import pytest
import torch

from infwidth import ridge
from infwidth.models.mlp import MLP, Factors
from infwidth.models.pi import PiLimit, sampled
from infwidth.models.pi.growing import GrowingLayer
from infwidth.tasks.losses import cross_entropy_cotangent
from infwidth.training.clipping import clipped
from tests.conftest import golden_files

TOLERANCE = {"rtol": 1e-9, "atol": 1e-10}


def model_of(z, h, block=8):
    L, t = h["L"], lambda k: torch.tensor(z[k])
    layers = [
        GrowingLayer(t(f"A{l}_init"), t(f"B{l}_init"), t(f"Amult{l}_init"), torch.float64, block=block)
        for l in range(2, L + 2)
    ]
    biases = [
        t(f"bias{l}_init")
        if f"bias{l}_init" in z
        else torch.zeros(h["r"] if l <= L else h["dout"], dtype=torch.float64)
        for l in range(1, L + 2)
    ]
    return PiLimit(t("A1_init"), layers, biases, factors_of(h), not h["gclip_exclude_last_layer"])


@pytest.mark.parametrize("file", golden_files("pilim/inf_mlp_traj_*.npz"))
def test_trajectories(file):
    z = dict(np.load(file, allow_pickle=False))
    h = json.loads(str(z["hyper_json"]))
    net = model_of(z, h)
    probe = torch.tensor(z["X_probe"])
    for t in range(h["T"]):
        np.testing.assert_allclose(net(probe).detach(), z["probe_logits"][t], **TOLERANCE)
        x, y = torch.tensor(z[f"X_{t}"]), torch.tensor(z[f"y_{t}"]).long()
        out, pullback = net.linearized(x)
        np.testing.assert_allclose(out, z[f"logits_{t}"], **TOLERANCE)
        if h["loss"] == "mse":
            one_hot = torch.nn.functional.one_hot(y, h["dout"]) - 1 / h["dout"]
            cotangent = 2 * (out - one_hot) / out.numel()
        else:
            cotangent = cross_entropy_cotangent(out, y)
        update = pullback(cotangent)
        norms = update.norms()
        for name, recorded in zip(h["gnorm_names"], z["gnorms"][t], strict=True):
            key = name.replace("weight.", "A").replace("bias.", "b")
            if key in norms:
                np.testing.assert_allclose(norms[key], recorded, **TOLERANCE, err_msg=name)
        rate = float(z["lrs"][t])
        if h["gclip"]:
            update, _ = clipped(update, h["gclip"], "parameter" if h["gclip_per_param"] else "global")
        net.apply_update(update, rate, h["wd"])
    np.testing.assert_allclose(net(probe).detach(), z["probe_logits"][h["T"]], **TOLERANCE)
    np.testing.assert_allclose(net.A1.detach(), z["A1_final"], **TOLERANCE)
    for l, layer in enumerate(net.layers, start=2):
        A, B, m = layer.joined()
        np.testing.assert_allclose(A * m[:, None], z[f"A{l}_final"] * z[f"Amult{l}_final"][:, None], **TOLERANCE)
        np.testing.assert_allclose(B, z[f"B{l}_final"], **TOLERANCE)
    for l, b in enumerate(net.b, start=1):
        if f"bias{l}_final" in z:
            np.testing.assert_allclose(b.detach(), z[f"bias{l}_final"], **TOLERANCE)


def factors_of(h):
    last_beta = h["bias_alpha"] if h["last_bias_alpha"] is None else h["last_bias_alpha"]
    return Factors(
        h["first_layer_alpha"],
        h["last_layer_alpha"],
        h["bias_alpha"],
        last_beta,
        h["first_layer_lr_mult"],
        h["last_layer_lr_mult"],
        h["bias_lr_mult"],
        h["apply_lr_mult_to_wd"],
    )


@pytest.mark.parametrize("file", golden_files("pilim/fin_[pm][iu]_traj_*.npz"))
def test_finite_trajectories(file):
    z = dict(np.load(file, allow_pickle=False))
    h = json.loads(str(z["hyper_json"]))
    L, sizes = h["L"], [h["width"]] * h["L"] + [h["dout"]]
    t = lambda k: torch.tensor(z[k])
    biases = [
        t(f"b{l}_init") if f"b{l}_init" in z else torch.zeros(sizes[l - 1], dtype=torch.float64)
        for l in range(1, L + 2)
    ]
    omegas = [t(f"omega{l}") for l in range(1, L + 1)] if h["mode"] == "pi" else []
    multipliers = factors_of(h).multipliers(L)
    present = [b if c else None for b, c in zip(biases, multipliers.biases, strict=True)]
    net = MLP([t(f"W{l}_init") for l in range(1, L + 2)], present, multipliers, "relu", omegas)
    if h["mode"] == "pi":
        z_inf = {k.replace("_inf_init", "_init"): v for k, v in z.items()}
        limit = model_of(z_inf, h)
        drawn = sampled(limit, h["width"], None, omegas)
        for l in range(1, L + 2):
            np.testing.assert_allclose(getattr(drawn, f"w{l}").detach(), z[f"W{l}_init"], **TOLERANCE)
            if present[l - 1] is not None:
                np.testing.assert_allclose(getattr(drawn, f"b{l}").detach(), biases[l - 1], **TOLERANCE)
    probe = torch.tensor(z["X_probe"])
    for step in range(h["T"]):
        np.testing.assert_allclose(net(probe).detach(), z["probe_logits"][step], **TOLERANCE)
        x, y = t(f"X_{step}"), t(f"y_{step}").long()
        out, pullback = net.linearized(x)
        np.testing.assert_allclose(out, z[f"logits_{step}"], **TOLERANCE)
        update = pullback(cross_entropy_cotangent(out, y))
        norms = update.norms()
        for name, recorded in zip(h["gnorm_names"], z["gnorms"][step], strict=True):
            _, index, kind = name.split(".")
            np.testing.assert_allclose(
                norms[f"{'w' if kind == 'weight' else 'b'}{int(index) + 1}"], recorded, **TOLERANCE
            )
        if h["gclip"]:
            if not h["bias_alpha"]:
                raise AssertionError("a fixture with clipping and without biases needs its norm checked")
            update, _ = clipped(update, h["gclip"], "parameter" if h["gclip_per_param"] else "global")
        net.apply_update(update, h["lr"], h["wd"])
    np.testing.assert_allclose(net(probe).detach(), z["probe_logits"][h["T"]], **TOLERANCE)
    for l in range(1, L + 2):
        np.testing.assert_allclose(getattr(net, f"w{l}").detach(), z[f"W{l}_final"], **TOLERANCE)


@pytest.mark.parametrize("file", golden_files("pilim/sample_and_feature_kernel_*.npz"))
def test_sampling_a_trained_limit(file):
    z = dict(np.load(file, allow_pickle=False))
    h = {
        "first_layer_lr_mult": 1,
        "last_layer_lr_mult": 1,
        "bias_lr_mult": 1,
        "apply_lr_mult_to_wd": True,
        "gclip_exclude_last_layer": False,
    } | json.loads(str(z["hyper_json"]))
    limit = model_of({k.replace("_inf", "_init"): v for k, v in z.items()}, h)
    x = torch.tensor(np.concatenate([z["X_train"], z["X_test"]]))
    np.testing.assert_allclose(limit(x).detach(), z["inf_logits"], **TOLERANCE)
    net = sampled(limit, h["width"], None, [torch.tensor(z[f"omega{l}"]) for l in range(1, h["L"] + 1)])
    np.testing.assert_allclose(net(x).detach(), z["fin_logits"], **TOLERANCE)
    np.testing.assert_allclose(net.features(x), z["fin_embedding"], **TOLERANCE)
    labels, regulariser = torch.tensor(z["y_train"]).long(), h["kernel_reg"]
    for model, name in ((limit, "inf"), (net, "fin")):
        unit = model.unit_features(x)
        np.testing.assert_allclose(model.feature_kernel(unit, unit), z[f"{name}_feature_kernel"], **TOLERANCE)
        train, test = unit.split([len(labels), len(x) - len(labels)])
        out = ridge.classify(model.feature_kernel, train, labels, test, h["dout"], regulariser)
        np.testing.assert_allclose(out, z[f"{name}_kernel_regression_out"], rtol=1e-7, atol=1e-9)

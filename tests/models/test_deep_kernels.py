"""Kernels of deep networks against the recorded numbers, true and as published."""

import json

import numpy as np
import pytest
import torch

from infwidth.models.kernel import DeepKernel
from tests.conftest import golden_files


@pytest.mark.parametrize("file", golden_files("pilim/nngp_ntk.npz"))
@pytest.mark.parametrize("kind", ["nngp", "truentk", "ntk"])
def test_kernels(file, kind):
    z = np.load(file, allow_pickle=False)
    X, Y = torch.tensor(z["X"]), torch.tensor(z["Y"])
    for name, c in json.loads(str(z["cases_json"])).items():
        kernel = DeepKernel(
            c["L"], c["varw"], c["varb"], kind != "nngp", kind == "ntk", tuple(c["lrws"]), tuple(c["lrbs"])
        )
        for other, key in ((X, "XX"), (Y, "XY")):
            np.testing.assert_allclose(
                kernel(X, other), z[f"{name}_{kind}_{key}"], rtol=1e-7, atol=1e-10, err_msg=f"{name} {key}"
            )

"""Kernel regression in closed form against dense linear algebra."""

import pytest
import torch

from infwidth.errors import ConfigError
from infwidth.models.deep_kernels import DeepKernel
from infwidth.models.regression import KernelRegression


@pytest.mark.parametrize("kernel", [DeepKernel(2), DeepKernel(2, tangent=True), DeepKernel(1, 2.0, 0.3, True, True)])
@pytest.mark.parametrize("block", [7, 100])
def test_predictions(kernel, block):
    g = torch.Generator().manual_seed(0)
    X, x = torch.randn(40, 12, generator=g, dtype=torch.float64), torch.randn(9, 12, generator=g, dtype=torch.float64)
    y = torch.randint(3, (40,), generator=g)
    model = KernelRegression(kernel, 1e-3, 12, 3, torch.float64, block)
    assert not model(x).any()
    model.fit(X, y)
    targets = torch.nn.functional.one_hot(y, 3).double() - 0.5
    expected = kernel(x, X) @ torch.linalg.solve(kernel(X, X) + 1e-3 * torch.eye(40), targets)
    torch.testing.assert_close(model(x), expected)
    other = KernelRegression(kernel, 1e-3, 12, 3, torch.float64, block)
    other.load_state(model.state())
    assert torch.equal(other(x), model(x))
    gram = model.features(x) @ model.features(x).mT
    torch.testing.assert_close(gram, DeepKernel(kernel.depth, kernel.sigma_w2, kernel.sigma_b2)(x, x))


def test_it_is_not_trained():
    with pytest.raises(ConfigError, match="set trainer.epochs=0"):
        KernelRegression(DeepKernel(1), 1e-3, 4, 2).gradient(torch.zeros(1, 4), torch.zeros(1, 2))

"""The correlations of hidden layers whose kernel is known and whose coordinates are not."""

from collections.abc import Callable

from torch import Tensor


def half_cosines(kernel: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """K(x, y) / sqrt(K(x, x) K(y, y)) / 2 (n, m) of inputs x (n, d), y (m, d); 0 for an input of which K(x, x) is 0."""
    norms = [kernel(z[:, None], z[:, None]).flatten().sqrt() for z in (x, y)]
    s, t = (norm.where(norm > 0, 1) for norm in norms)
    return kernel(x, y).div_(2 * s[:, None]).div_(t)

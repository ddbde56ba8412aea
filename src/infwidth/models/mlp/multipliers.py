"""What multiplies the layers of a network and their learning rates.

PiLim's factors, and what they are for a network of one width.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Multipliers:
    """weights, biases: m_l and c_l of the multilayer perceptron, for l = 1..L+1 (c_l = 0: no such bias).

    weight_rates, bias_rates: multipliers of the learning rate. decay_follows: whether weight decay is multiplied
    by them too. frozen_readout: the readout is not trained and no part of norms.
    """

    weights: tuple[float, ...]
    biases: tuple[float, ...]
    weight_rates: tuple[float, ...]
    bias_rates: tuple[float, ...]
    decay_follows: bool = False
    frozen_readout: bool = False


@dataclass(frozen=True)
class Factors:
    """What PiLim multiplies.

    The first layer by alpha_1, the output by alpha_out, biases by beta (the readout's by beta_readout), and the
    learning rate of the first layer, of the readout and of the biases. decay_follows: weight decay too.
    """

    alpha_1: float = 1.0
    alpha_out: float = 1.0
    beta: float = 0.0
    beta_readout: float = 0.0
    first: float = 1.0
    readout: float = 1.0
    bias: float = 1.0
    decay_follows: bool = False

    def multipliers(
        self, depth: int, widths: Callable[[int], float] = lambda layer: 1.0, frozen_readout: bool = False
    ) -> Multipliers:
        """Those of a network; widths(l): the power of the width that multiplies weight layer l."""
        between = [1.0] * (depth - 1)
        alphas = [self.alpha_1, *between, self.alpha_out]
        betas = [self.beta * widths(1)] * depth + [self.beta_readout]
        powers = [widths(l) for l in range(1, depth + 2)]
        return Multipliers(
            weights=tuple(alpha * power for alpha, power in zip(alphas, powers, strict=True)),
            biases=tuple(alpha * beta for alpha, beta in zip(alphas, betas, strict=True)),
            weight_rates=(self.first, *between, self.readout),
            bias_rates=(self.bias,) * (depth + 1),
            decay_follows=self.decay_follows,
            frozen_readout=frozen_readout,
        )

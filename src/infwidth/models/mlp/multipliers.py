"""What multiplies the layers of a network and their learning rates: the paper's factors, and those of a network of one width."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Multipliers:
    """weights, biases: m_l and c_l above, for l = 1..L+1 (c_l = 0: no such bias). weight_rates, bias_rates: multipliers of the learning
    rate. decay_follows: whether weight decay is multiplied by them too. frozen_readout: the readout is not trained and no part of norms."""

    weights: tuple[float, ...]
    biases: tuple[float, ...]
    weight_rates: tuple[float, ...]
    bias_rates: tuple[float, ...]
    decay_follows: bool = False
    frozen_readout: bool = False


@dataclass(frozen=True)
class Factors:
    """What PiLim multiplies: the first layer by alpha_1, the output by alpha_out, biases by beta (the readout's by beta_readout), and
    the learning rate of the first layer, of the readout and of the biases. decay_follows: weight decay too."""

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
        layers = range(1, depth + 2)
        ends = {1: self.alpha_1, depth + 1: self.alpha_out}
        biases = [ends.get(l, 1.0) * (self.beta * widths(1) if l <= depth else self.beta_readout) for l in layers]
        rates = tuple({1: self.first, depth + 1: self.readout}.get(l, 1.0) for l in layers)
        weights = tuple(ends.get(l, 1.0) * widths(l) for l in layers)
        return Multipliers(
            weights, tuple(biases), rates, (self.bias,) * (depth + 1), self.decay_follows, frozen_readout
        )

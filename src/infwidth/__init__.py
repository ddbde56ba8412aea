"""infwidth: infinitely wide neural networks that learn features, beside the finite networks they are limits of."""

__version__ = "0.1.0"

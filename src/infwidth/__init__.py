"""infwidth: infinitely wide neural networks that learn features, beside the finite networks they are limits of."""

from infwidth import sources as sources  # before anything else of the package, whose texts it keeps
from infwidth.command import guard_start

guard_start()

__version__ = "0.1.0"

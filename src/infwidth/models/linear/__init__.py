"""One linear hidden layer: finite networks and the mu-limit (TP4 sections 5-6)."""

from infwidth.models.linear.net import LinearNet
from infwidth.models.linear.start import finite, mu_limit, reduced, sampled, split

__all__ = ["LinearNet", "finite", "mu_limit", "reduced", "sampled", "split"]

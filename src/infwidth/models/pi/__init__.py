"""The pi-limit of deep ReLU networks, and the finite networks drawn from it (PiLim)."""

from infwidth.models.pi.growing import GrowingLayer
from infwidth.models.pi.limit import PiLimit
from infwidth.models.pi.sampled import sampled
from infwidth.models.pi.start import pi_limit

__all__ = ["GrowingLayer", "PiLimit", "pi_limit", "sampled"]

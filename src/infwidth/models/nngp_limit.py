"""model=nngp_limit: the infinite-width limit in which only the readout moves."""

from infwidth.models.family import Family
from infwidth.models.kernel.config import KernelConfig

FAMILY = Family("nngp_limit", KernelConfig)

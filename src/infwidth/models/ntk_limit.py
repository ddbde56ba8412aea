"""model=ntk_limit: the infinite-width limit in which the tangent kernel stays fixed."""

from infwidth.models.family import Family
from infwidth.models.kernel.config import KernelConfig

FAMILY = Family("ntk_limit", KernelConfig)

"""Clipping an update by its norm, globally or parameter by parameter."""

import torch
from torch import Tensor

from infwidth.models.updates import Update


def clipped(update: Update, threshold: float, by: str = "global") -> tuple[Update, Tensor]:
    """The update times min(1, threshold / (norm + epsilon)), and the global norm before clipping (0-d).

    by: 'global' for one norm over all parameters, 'parameter' for each its own. epsilon is the update's own convention
    (1e-6 in torch's manner, 0 for function-space norms).
    """
    norms = update.norms()
    total = torch.stack(list(norms.values())).norm()
    norms = norms if by == "parameter" else dict.fromkeys(norms, total)
    factors = {name: (threshold / (norm + update.clip_epsilon)).clamp(max=1) for name, norm in norms.items()}
    return update.scaled(factors), total

"""What the commands share: how a user's errors are shown."""

import functools
import sys
from collections.abc import Callable
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from infwidth.errors import InfwidthError


def sentences(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Show a user's errors as one sentence. A sweep goes on with its next job; a single command exits with status 2."""

    @functools.wraps(function)
    def wrapped(config: DictConfig):
        try:
            return function(config)
        except InfwidthError as e:
            print(f"error: {e}", file=sys.stderr, flush=True)
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                sys.exit(2)

    return wrapped

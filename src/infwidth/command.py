"""What the commands share: how they start, how their errors are shown, and how they are interrupted."""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infwidth.errors import InfwidthError

DECIDES_NUMBERS = False

WRONG, INTERRUPTED = 2, 130
"""Exit statuses: for a user's error, and as a shell has it after Ctrl-C."""


def command(folder: str, config_name: str) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make a command of a function of a config: of conf/, composed by Hydra from the command line, ``-m`` included.

    What a user can mend is shown as one sentence, Hydra's errors too, and the command exits with status 2; a sweep goes
    on with its next job. Ctrl-C exits with status 130.
    """

    def decorator(function: Callable[[Any], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def main() -> None:
            with sentences():
                _carry_out(function, folder, config_name)

        return main

    return decorator


def _carry_out(function: Callable[[Any], None], folder: str, config_name: str) -> None:
    """Let Hydra compose the config and call the function, once or for every job."""
    # Imported here, so that this module is light: what it does about interruptions must be in place before the rest.
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from infwidth.runs.compose import refused
    from infwidth.runs.overrides import on_command_line, require_choices

    overrides = on_command_line()
    require_choices(overrides, Path(folder))
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    try:
        hydra.main(config_path=folder, config_name=config_name, version_base="1.3")(_job(function))()
    except (HydraException, OmegaConfBaseException) as e:
        raise refused(folder, config_name, overrides, e) from e


def _job(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """The function as Hydra calls it."""

    @functools.wraps(function)
    def job(config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        with sentences(go_on=HydraConfig.get().mode == RunMode.MULTIRUN):
            function(config)

    return job


@contextmanager
def sentences(go_on: bool = False) -> Iterator[None]:
    """Show a user's errors as one sentence, and exit, or ``go_on`` after them; say what an interruption is."""
    try:
        yield
    except InfwidthError as e:
        print(f"error: {e}", file=sys.stderr, flush=True)
        if not go_on:
            sys.exit(WRONG)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)

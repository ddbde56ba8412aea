"""What the commands share: how they start, how their errors are shown, and how they are interrupted."""

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from infwidth.errors import InfwidthError

DECIDES_NUMBERS = False

WRONG, INTERRUPTED = 2, 130
"""Exit statuses: for a user's error, and as a shell has it after Ctrl-C."""


def guard_start() -> None:
    """Let Ctrl-C end a command at once and in one line as long as it imports what it needs, which takes seconds; of
    one that torchrun has started let torch's libraries say errors only.

    Called when the package is first imported; does nothing unless Python was told to run a command, as in
    ``python -m infwidth.train``. A KeyboardInterrupt in the middle of an import may come out as anything.
    """
    # As long as Python looks for the module of -m, and imports its package, sys.argv begins with "-m".
    if sys.argv[:1] == ["-m"] and any(a.startswith("infwidth.") for a in sys.orig_argv):
        guard()


def guard() -> None:
    """Let Ctrl-C end the process at once until :func:`begin`, unless somebody has decided otherwise; and let the
    libraries of torch say errors only in a process that torchrun has started."""
    if "RANK" in os.environ:
        # Of a rank that is gone they would say a page, and we say a sentence. Read once, when torch is imported.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)


def begin() -> None:
    """The start is over: from here on Ctrl-C is Python's KeyboardInterrupt, so that nothing is left half done."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once(*_: Any) -> NoReturn:
    os.write(sys.stderr.fileno(), b"interrupted\n")
    os._exit(INTERRUPTED)


def command(
    folder: str, config_name: str, over_ranks: bool = False
) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Make a command of a function of a config: of conf/, composed by Hydra from the command line, ``-m`` included.

    over_ranks: whether several processes, which torchrun has started, can carry it out together.
    What a user can mend is shown as one sentence, Hydra's errors too, and the command exits with status 2; a sweep goes
    on with its next job. Ctrl-C exits with status 130.
    """

    def decorator(function: Callable[[Any], None]) -> Callable[[], None]:
        @functools.wraps(function)
        def main() -> None:
            with sentences():
                _require_one_process(config_name, over_ranks)
                _carry_out(function, folder, config_name)

        return main

    return decorator


def _require_one_process(name: str, over_ranks: bool) -> None:
    """InfwidthError where torchrun has started several and the command, or a sweep of it, is for one."""
    if "RANK" not in os.environ:
        return
    from infwidth.joining import world_size

    if world_size() == 1:
        return
    if not over_ranks:
        raise InfwidthError(
            f"infwidth.{name} is carried out by one process, python -m infwidth.{name}; torchrun is for one run, "
            "torchrun -m infwidth.train."
        )
    if any(a in ("-m", "--multirun") or a.startswith("sweep=") for a in sys.argv[1:]):
        raise InfwidthError(
            "torchrun carries out one run, not a sweep; leave out -m and sweep=, or start the sweep without torchrun."
        )


def _carry_out(function: Callable[[Any], None], folder: str, config_name: str) -> None:
    """Let Hydra compose the config and call the function, once or for every job."""
    # Imported here, so that this module is light: what it does about interruptions must be in place before the rest.
    from concurrent.futures.process import BrokenProcessPool

    import hydra

    from infwidth.runs.compose import refused
    from infwidth.runs.overrides import on_command_line, own_folder, require_choices

    overrides = on_command_line()
    require_choices(overrides, Path(folder), own_folder())
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    try:
        hydra.main(config_path=folder, config_name=config_name, version_base="1.3")(_job(function))()
    except BrokenProcessPool as e:
        raise InfwidthError(
            "the process of a job was killed, perhaps for want of memory; run the same command again, which keeps what "
            "is finished, with fewer jobs at a time (hydra.launcher.n_jobs)."
        ) from e
    except Exception as e:
        modules = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(e.__traceback__)]
        if _hydras_own(modules[-1]):
            raise refused(folder, config_name, overrides, e) from e
        if launcher := _launcher(modules):
            raise InfwidthError(
                f"{launcher} has failed ({_first_line(e)}); see to it, then run the same command again, which keeps "
                "what is finished."
            ) from e
        raise


def _hydras_own(module: str) -> bool:
    """Whether a module is of Hydra or OmegaConf; these meet some values with an AssertionError."""
    return module.partition(".")[0] in ("hydra", "hydra_plugins", "omegaconf")


def _launcher(modules: Sequence[str]) -> str | None:
    """The plugin, such as hydra_ray_launcher, that starts a sweep's jobs elsewhere, if an error has come through it.

    modules: those that it has come through. A job's own error does not: it is caught where the job is carried out.
    """
    plugins = [name.split(".")[1] for name in modules if name.startswith("hydra_plugins.")]
    return next((name for name in plugins if name.endswith("_launcher")), None)


def _first_line(error: Exception) -> str:
    """Of what an error says, or else its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _job(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """The function as Hydra calls it."""

    @functools.wraps(function)
    def job(config: Any) -> None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        begin()
        sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            with sentences(go_on=sweep):
                function(config)
        except Exception:
            if not sweep:
                raise
            traceback.print_exc()  # here, because another process would pass on no more than the error itself

    return job


@contextmanager
def sentences(go_on: bool = False) -> Iterator[None]:
    """Show a user's errors as one sentence, and exit, or ``go_on`` after them; say what an interruption is."""
    try:
        with _files_named():
            yield
    except InfwidthError as e:
        if _speaks():
            print(f"error: {e}", file=sys.stderr, flush=True)
        if not go_on:
            sys.exit(WRONG)
    except KeyboardInterrupt:
        if _speaks():
            print("interrupted", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)


def _speaks() -> bool:
    """Whether this process is the one of those that torchrun has started that says why they end."""
    if "RANK" not in os.environ:
        return True
    from infwidth.joining import speaks

    return speaks()


@contextmanager
def _files_named() -> Iterator[None]:
    """Make a user's error of a file or folder that the system refuses, wherever it is."""
    try:
        yield
    except OSError as e:
        if e.filename is None:
            raise
        raise InfwidthError(
            f"{e.filename} cannot be read or written ({e.strerror}); see to it, or name another."
        ) from e

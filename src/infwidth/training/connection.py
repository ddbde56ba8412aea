"""Whether W&B can be used online: is there a key, does its server answer? Asked in seconds, before a run starts."""

import netrc
import os
import socket
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from infwidth.errors import ConfigError

DECIDES_NUMBERS = False

SECONDS_TO_ANSWER = 5
"""How long the server may take to answer."""

OFFLINE = "this run is kept offline, `make wandb-sync` uploads it later"

MODES = ("online", "offline", "disabled")


def chosen_mode(asked: str) -> str:
    """'online', 'offline' or 'disabled' for logger.mode.

    'auto' is what the environment's WANDB_MODE says, else online if there is a key and the server answers. ConfigError
    for an unknown WANDB_MODE, and for 'online', asked for by either, without a key or an answer.
    """
    given = os.environ.get("WANDB_MODE") or None
    if given is not None and given not in MODES:
        raise ConfigError(f"WANDB_MODE is {given!r}; choose one of: {', '.join(MODES)}.")
    mode = given if asked == "auto" else asked
    if mode in ("offline", "disabled"):
        return mode
    key, problem = _problem()
    if problem is None:
        return "online"
    if mode == "online":
        by = "WANDB_MODE=online" if asked == "auto" else "logger.mode=online"
        raise ConfigError(
            f"W&B cannot be used online ({problem}), which {by} asks for; use logger.mode=auto or offline."
        )
    if key:
        print(f"W&B cannot be used online ({problem}); {OFFLINE}.", file=sys.stderr, flush=True)
    return "offline"


def _problem() -> tuple[bool, str | None]:
    """Whether there is a key, and what keeps W&B from being used online."""
    import wandb

    try:
        settings = wandb.setup().settings
    except Exception as e:  # its settings file, its environment variables
        return True, reason(e)
    if not has_key(settings.base_url, settings.api_key):
        return False, "it has no key: log in with `wandb login`"
    silence = unreachable(settings.base_url)
    return True, silence and f"{settings.base_url} does not answer: {silence}"


def has_key(server: str, key: str | None) -> bool:
    """Whether W&B is logged in to a server. key: of its settings, if they have one."""
    if key or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    candidates = (os.environ.get("NETRC"), Path.home() / ".netrc", Path.home() / "_netrc")
    return any(_in_netrc(path, urlsplit(server).hostname) for path in candidates if path is not None)


def _in_netrc(path: str | Path, host: str | None) -> bool:
    try:
        return host is not None and netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def unreachable(server: str, seconds: float = SECONDS_TO_ANSWER) -> str | None:
    """Why nobody answers at a server's address, or at that of the proxy to it; None if somebody does."""
    address = urlsplit(server)
    proxy = getproxies().get(address.scheme)
    if proxy and not proxy_bypass(address.hostname or ""):
        address = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = address.port or {"http": 80}.get(address.scheme, 443)
    problems = [f"nothing within {seconds:g} s"]

    def ask() -> None:
        try:
            socket.create_connection((address.hostname, port), seconds).close()
            problems.clear()
        except OSError as e:
            problems[:] = [e.strerror or str(e)]

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name has no limit of its own
    asking.start()
    asking.join(seconds)
    return problems[0] if problems else None


def reason(error: BaseException) -> str:
    """The first line of an error, or its kind."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__

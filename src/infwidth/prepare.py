"""Download, verify and prepare datasets: `make data` or `python -m infwidth.prepare datasets=[omniglot]`."""

import time
from dataclasses import dataclass

from omegaconf import DictConfig

from infwidth.command import command
from infwidth.config import load
from infwidth.data.catalog import obtain
from infwidth.errors import ConfigError
from infwidth.runs.compose import COMMANDS, composed, plain


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """conf/command/prepare.yaml"""

    datasets: tuple[str, ...]


@command(COMMANDS, "prepare")
def main(config: DictConfig) -> None:
    for name in load(PrepareConfig, plain(config), "").datasets:
        started = time.monotonic()
        try:
            wanted = composed("train", [f"data={name}"])["data"]
        except ConfigError as e:
            raise ConfigError(f"datasets has {name!r}: {e}") from e
        found = obtain(wanted)
        shapes = ", ".join(f"{k} {tuple(a.shape)}" for k, a in found.arrays.items())
        where = f"checksum {found.checksum[:12]}; from {found.manifest['source']}"
        print(f"{name}: {shapes}; {where}; ready in {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()

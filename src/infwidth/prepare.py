"""Download, verify and prepare datasets: `make data` or `python -m infwidth.prepare datasets=[omniglot]`."""

import time
from dataclasses import dataclass

import hydra
from omegaconf import DictConfig

from infwidth.command import sentences
from infwidth.config import load
from infwidth.data.catalog import obtain
from infwidth.runs.compose import COMMANDS, composed, plain


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """conf/command/prepare.yaml"""

    datasets: tuple[str, ...]


@hydra.main(config_path=COMMANDS, config_name="prepare", version_base="1.3")
@sentences
def main(config: DictConfig) -> None:
    for name in load(PrepareConfig, plain(config), "").datasets:
        started = time.monotonic()
        found = obtain(composed("train", [f"data={name}"])["data"])
        shapes = ", ".join(f"{k} {tuple(a.shape)}" for k, a in found.arrays.items())
        print(
            f"{name}: {shapes}; checksum {found.checksum[:12]}; from {found.manifest['source']}; ready in {time.monotonic() - started:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""What a dataset is: a module that exports DATASET. And where its files are looked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from infwidth.data.kinds import Kind
from infwidth.errors import ConfigError, DataError

DECIDES_NUMBERS = False

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The folders of a data config: root keeps prepared arrays and downloads, mirror (or null) has files already."""

    root: str = "data"
    mirror: str | None = None

    def __post_init__(self):
        if not self.root:
            raise ConfigError("data.root is empty; name a folder for prepared arrays and downloads.")

    @property
    def raw(self) -> Path:
        """Where downloads go, and files that a user puts there."""
        return Path(self.root) / "raw"

    @property
    def prepared(self) -> Path:
        """Where prepared arrays go."""
        return Path(self.root) / "prepared"

    def find(self, find: Callable[[Path], Found | None]) -> Found | None:
        """What ``find`` makes of the raw folder, else of the mirror; None if it finds nothing in either."""
        folders = [self.raw]
        if self.mirror:
            if not Path(self.mirror).is_dir():
                raise DataError(f"the mirror {self.mirror} is not a folder; correct DATA_MIRROR or data.mirror.")
            folders.append(Path(self.mirror))
        return next((found for folder in folders if (found := find(folder))), None)

    def locate(self, name: str, find: Callable[[Path], Found | None], download: Callable[[Path], Found]) -> Found:
        """What ``find`` makes of the folders at hand, else what ``download`` brings into the raw folder.

        Raises DataError with the remedies.
        """
        if found := self.find(find):
            return found
        try:
            return download(self.raw)
        except DataError as e:
            mirror = f" or {self.mirror}" if self.mirror else ""
            raise DataError(
                f"{name} was not found in {self.raw}{mirror}, and its download failed: {e} Put the official files into "
                f"{self.raw}, or name a folder that has them in DATA_MIRROR (or data.mirror=), or connect to the "
                "internet; or use scale=demo, which needs no data."
            ) from e


def _as_asked(config: Any, sources: Sources) -> Any:
    return config


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset, described in the module whose name is its name.

    config: a frozen dataclass with the keys of its data group, ``name`` among them, without root and mirror.
    kind: what kind of data it is. version: to be raised when its preparation changes.
    make(config, sources): its arrays, and its manifest with label, source and what the kind asks for.
    settle(config, sources): the config with what depends on the files at hand decided, its name included.
    """

    config: type
    kind: Kind
    version: int
    make: Callable[[Any, Sources], tuple[dict[str, np.ndarray], dict[str, Any]]]
    settle: Callable[[Any, Sources], Any] = _as_asked

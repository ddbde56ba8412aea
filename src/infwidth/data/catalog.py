"""The catalog of datasets: where each is looked for, how it is verified and prepared.

Order: the prepared cache, the archive or tree in <root>/raw or in the mirror, the official download.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from infwidth.config import load
from infwidth.data import glyphs, omniglot
from infwidth.data.prepared import Prepared, read, temporary_folder, write
from infwidth.errors import ConfigError, DataError


@dataclass(frozen=True)
class OmniglotConfig:
    """conf/data/omniglot.yaml"""

    name: Literal["omniglot"]


@dataclass(frozen=True)
class Entry:
    """One dataset: its config, what kind of task it serves, a version to raise when preparation changes, and its maker.

    make(config, root, mirror) returns arrays and manifest.
    """

    config: type
    kind: str
    version: int
    make: Callable[[Any, Path, Path | None], tuple[dict[str, np.ndarray], dict]]


def _make_omniglot(config: OmniglotConfig, root: Path, mirror: Path | None):
    return omniglot.prepare(_located("omniglot", omniglot.find, omniglot.download, root, mirror))


def _make_glyphs(config: glyphs.GlyphsConfig, root: Path, mirror: Path | None):
    return glyphs.prepare(config)


CATALOG = {
    "omniglot": Entry(OmniglotConfig, "few-shot images", 1, _make_omniglot),
    "glyphs": Entry(glyphs.GlyphsConfig, "few-shot images", 1, _make_glyphs),
}


def _located(name: str, find: Callable, download: Callable, root: Path, mirror: Path | None):
    """What ``find`` makes of the raw folder or the mirror, else what ``download`` brings; DataError with the remedies."""
    if mirror is not None and not mirror.is_dir():
        raise DataError(f"the mirror {mirror} is not a folder; correct DATA_MIRROR or data.mirror.")
    raw = root / "raw"
    for folder in (raw, *([mirror] if mirror else [])):
        if found := find(folder):
            return found
    try:
        return download(raw)
    except DataError as e:
        raise DataError(
            f"{name} was not found in {raw}" + (f" or {mirror}" if mirror else "") + f", and its download failed: {e} "
            f"Put the official files into {raw}, or name a folder that has them in DATA_MIRROR (or data.mirror=), or "
            "connect to the internet; or use scale=demo, which needs no data."
        ) from e


def obtain(data: Mapping[str, Any]) -> Prepared:
    """The prepared dataset of a data config group, from the cache or made now.

    data.root is the data folder (prepared arrays in root/prepared, downloads in root/raw), data.mirror a folder that
    has the files already, or null. Raises ConfigError for an unknown name or key, DataError otherwise.
    """
    data = dict(data)
    root, mirror = Path(data.pop("root", "data")), data.pop("mirror", None)
    name = data.get("name")
    if name not in CATALOG:
        raise ConfigError(f"data.name is {name!r}; choose one of: {', '.join(CATALOG)}.")
    entry = CATALOG[name]
    config = load(entry.config, data, "data")
    spec = json.dumps([entry.version, asdict(config)], sort_keys=True)
    folder = root / "prepared" / f"{name}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"
    if folder.exists():
        return read(folder)
    temporary_folder(folder).rmdir()  # a folder that cannot be written is better known before the work than after
    arrays, manifest = entry.make(config, root, Path(mirror) if mirror else None)
    return write(folder, arrays, {"name": name, "kind": entry.kind, **manifest})

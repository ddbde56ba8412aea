"""From a data config to prepared data: the prepared folder, else files at hand, else the official download.

A dataset is a module that exports DATASET, found by its name: ``data.name=omniglot`` is infwidth.data.omniglot,
``data.name=my_package.my_data`` is a module of the user's own.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import infwidth.data
from infwidth.config import load
from infwidth.data.dataset import Dataset, Sources
from infwidth.data.prepared import Prepared, read, write
from infwidth.data.workplace import workplace
from infwidth.described import described, known
from infwidth.errors import ConfigError, DataError

DECIDES_NUMBERS = False

SOURCES = {field.name for field in fields(Sources)}


def found(name: object) -> Dataset:
    """The dataset of that name; ConfigError with the known names if there is none."""
    return described(name, infwidth.data, "DATASET", Dataset, "data")


def obtain(data: Mapping[str, Any]) -> Prepared:
    """The prepared dataset of a data config group, from its folder or made now.

    data.root is the data folder: prepared arrays in root/prepared, downloads in root/raw, nothing is written elsewhere.
    data.mirror is a folder that has the files already, or null. Raises ConfigError for an unknown name or key,
    DataError for what is wrong with the files.
    """
    if not isinstance(data, Mapping):
        names = ", ".join(known(infwidth.data, "DATASET"))
        raise ConfigError(f"data is {data!r}; choose a dataset, data=NAME with one of: {names}.")
    sources = load(Sources, {k: v for k, v in data.items() if k in SOURCES}, "data")
    keys = {k: v for k, v in data.items() if k not in SOURCES}
    dataset = found(keys.get("name"))
    config = load(dataset.config, keys, "data")
    try:
        return _opened_or_made(dataset, config, sources)
    except OSError as e:
        raise DataError(
            f"the files of data.name={config.name} cannot be used ({e}); correct that file or folder, or set data.root "
            "or data.mirror to another."
        ) from e


def _opened_or_made(dataset: Dataset, config: Any, sources: Sources) -> Prepared:
    folder = prepared_folder(dataset, config, sources)
    if not folder.exists():
        config = dataset.settle(config, sources)
        dataset = found(config.name)
        folder = prepared_folder(dataset, config, sources)
    if folder.exists():
        return read(folder, dataset.kind)
    with workplace(folder):
        pass  # a folder that cannot be written is better known before the work than after
    arrays, manifest = dataset.make(config, sources)
    return write(folder, arrays, {**manifest, "name": config.name}, dataset.kind)


def prepared_folder(dataset: Dataset, config: Any, sources: Sources) -> Path:
    """Where the arrays of this config lie: the folder's name holds a hash of all that decides them."""
    spec = json.dumps([dataset.version, _deciding(config), *_states_of_files(config)], sort_keys=True)
    return sources.prepared / f"{config.name}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"


def _deciding(config: Any) -> dict[str, Any]:
    """The config's keys without those at a neutral value: a new key leaves what was prepared before it valid."""
    neutral = {f.name: f.metadata.get("neutral") for f in fields(config)}
    return {k: v for k, v in asdict(config).items() if neutral[k] is None or v != neutral[k]}


def _states_of_files(config: Any) -> list[tuple[int, int] | None]:
    """Size and time of the files that the config names, None for one that is not there.

    Another file at the same path is other data.
    """
    keys = sorted(f.name for f in fields(config) if f.metadata.get("file"))
    paths = [Path(path) for path in (getattr(config, k) for k in keys) if path]
    return [(p.stat().st_size, p.stat().st_mtime_ns) if p.exists() else None for p in paths]

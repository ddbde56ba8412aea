"""From a data config to prepared data: the prepared folder, else files at hand, else the official download.

A dataset is a module that exports DATASET, found by its name: ``data.name=omniglot`` is infwidth.data.omniglot,
``data.name=my_package.my_data`` is a module of the user's own.
"""

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import infwidth.data
from infwidth.config import load
from infwidth.data.dataset import Dataset, Sources
from infwidth.data.prepared import Prepared, read, write
from infwidth.data.workplace import workplace
from infwidth.errors import ConfigError, DataError

SOURCES = {field.name for field in fields(Sources)}


def names() -> list[str]:
    """The names of all datasets that come with the package."""
    modules = (module.name for module in pkgutil.iter_modules(infwidth.data.__path__))
    return [name for name in modules if isinstance(_exported(f"infwidth.data.{name}"), Dataset)]


def found(name: Any) -> Dataset:
    """The dataset of that name; ConfigError if there is none."""
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise _unknown(name, "")
    try:
        dataset = _exported(name if "." in name else f"infwidth.data.{name}")
    except Exception as e:  # a module of the user's own may fail in any way when it is imported
        raise _unknown(name, f", which cannot be imported ({type(e).__name__}: {e})" if "." in name else "") from e
    if not isinstance(dataset, Dataset):
        raise _unknown(name, ", a module that exports no DATASET" if "." in name else "")
    return dataset


def _exported(module: str) -> Any:
    return getattr(importlib.import_module(module), "DATASET", None)


def _unknown(name: Any, reason: str) -> ConfigError:
    return ConfigError(
        f"data.name is {name!r}{reason}; choose one of: {', '.join(names())}; or a module of your own, as "
        "package.module."
    )


def obtain(data: Mapping[str, Any]) -> Prepared:
    """The prepared dataset of a data config group, from its folder or made now.

    data.root is the data folder: prepared arrays in root/prepared, downloads in root/raw, nothing is written elsewhere.
    data.mirror is a folder that has the files already, or null. Raises ConfigError for an unknown name or key,
    DataError for what is wrong with the files.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"data is {data!r}; choose a dataset, data=NAME with one of: {', '.join(names())}.")
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
    spec = json.dumps([dataset.version, _deciding(config), *_states(dataset, config)], sort_keys=True)
    return sources.prepared / f"{config.name}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"


def _deciding(config: Any) -> dict[str, Any]:
    """The config's keys without those at their neutral value: a new key leaves what was prepared before it valid."""
    neutral = {f.name: f.metadata["neutral"] for f in fields(config) if "neutral" in f.metadata}
    return {k: v for k, v in asdict(config).items() if k not in neutral or v != neutral[k]}


def _states(dataset: Dataset, config: Any) -> list[tuple[int, int] | None]:
    """Size and time of the files that the config names itself, None for one that is not there."""
    paths = [Path(path) for path in (getattr(config, k) for k in dataset.files) if path]
    return [(p.stat().st_size, p.stat().st_mtime_ns) if p.exists() else None for p in paths]

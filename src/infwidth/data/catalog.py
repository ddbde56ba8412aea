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
from infwidth.data import cifar10, digits, glyphs, omniglot, planted, questions, text, wikifil
from infwidth.data.prepared import Prepared, read, temporary_folder, write
from infwidth.errors import ConfigError, DataError


@dataclass(frozen=True)
class OmniglotConfig:
    """conf/data/omniglot.yaml"""

    name: Literal["omniglot"]


@dataclass(frozen=True)
class Cifar10Config:
    """conf/data/cifar10.yaml"""

    name: Literal["cifar10"]


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


def _make_planted(config: planted.PlantedConfig, root: Path, mirror: Path | None):
    return planted.prepare(config)


def _make_cifar10(config: Cifar10Config, root: Path, mirror: Path | None):
    return cifar10.prepare(_located("cifar10", cifar10.find, cifar10.download, root, mirror))


def _make_digits(config: digits.DigitsConfig, root: Path, mirror: Path | None):
    return digits.prepare(config)


def _make_text(config: text.CorpusConfig, root: Path, mirror: Path | None):
    path, stream, size = CORPORA[config.name](config, root, mirror)
    if config.questions:
        question_file = Path(config.questions)
    else:
        question_file = _located(
            "questions-words.txt", questions.find, lambda raw: questions.OFFICIAL.fetch(raw / "text"), root, mirror
        )
        questions.require_official(question_file)
    label = path.name if config.name == "text_file" else config.name
    return text.prepare(config, label, path, question_file, stream, size)


def _text8(config: text.CorpusConfig, root: Path, mirror: Path | None):
    path = _located("text8", lambda f: text.find(f, "text8"), lambda raw: text.TEXT8.fetch(raw / "text"), root, mirror)
    return text.require(path, text.TEXT8_MD5, text.TEXT8_BYTES), text.blocks(path), text.TEXT8_BYTES


def _fil9(config: text.CorpusConfig, root: Path, mirror: Path | None):
    def find(folder: Path) -> Path | None:
        return text.find(folder, "fil9") or text.find(folder, "enwik9")

    path = _located("fil9", find, lambda raw: text.ENWIK9.fetch(raw / "text"), root, mirror)
    if not path.name.startswith("enwik9"):
        return text.require(path, text.TEXT8_MD5, text.TEXT8_BYTES), text.blocks(path), text.FIL9_BYTES
    text.require(path, text.ENWIK9_MD5, text.ENWIK9_BYTES)
    stream = text.verified(
        wikifil.cleaned(text.blocks(path)), text.TEXT8_MD5, text.TEXT8_BYTES, f"fil9, made from {path},"
    )
    return path, stream, text.FIL9_BYTES


def _simple8(config: text.CorpusConfig, root: Path, mirror: Path | None):
    def nowhere(raw: Path):
        raise DataError("it has no official address; make any text8-format file and use data=text_file data.path=FILE.")

    path = _located("simple8", lambda f: text.find(f, "simple8"), nowhere, root, mirror)
    return path, text.blocks(path), text.TEXT8_BYTES


def _text_file(config: text.CorpusConfig, root: Path, mirror: Path | None):
    if config.path is None:
        raise ConfigError(
            "data=text_file needs data.path, a text8-format file (a-z and spaces), plain, .zip, .gz or .xz."
        )
    path = Path(config.path)
    return path, text.blocks(path), None


CORPORA = {"text8": _text8, "fil9": _fil9, "simple8": _simple8, "text_file": _text_file}

CATALOG = {
    **dict.fromkeys(CORPORA, Entry(text.CorpusConfig, "text", 1, _make_text)),
    "cifar10": Entry(Cifar10Config, "images", 1, _make_cifar10),
    "digits": Entry(digits.DigitsConfig, "images", 1, _make_digits),
    "planted_corpus": Entry(planted.PlantedConfig, "text", 1, _make_planted),
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


def _text_at_hand(root: Path, mirror: Path | None) -> str:
    """simple8 where the folders at hand hold it and not text8; otherwise text8, which can be downloaded."""
    folders = [root / "raw", *([mirror] if mirror else [])]
    text8 = any(text.find(f, "text8") for f in folders) or any((root / "prepared").glob("text8-*"))
    simple8 = any(text.find(f, "simple8") for f in folders) or any((root / "prepared").glob("simple8-*"))
    return "simple8" if simple8 and not text8 else "text8"


def _files_named_in(config: Any) -> list:
    """Size and time of the files that a config names itself: another file at the same path is other data."""
    paths = [Path(p) for p in (getattr(config, k, None) for k in ("path", "questions")) if isinstance(p, str)]
    return [(p.stat().st_size, p.stat().st_mtime_ns) if p.exists() else None for p in paths]


def obtain(data: Mapping[str, Any]) -> Prepared:
    """The prepared dataset of a data config group, from the cache or made now.

    data.root is the data folder (prepared arrays in root/prepared, downloads in root/raw), data.mirror a folder that
    has the files already, or null. Raises ConfigError for an unknown name or key, DataError otherwise.
    """
    data = dict(data)
    root, mirror = Path(data.pop("root", "data")), data.pop("mirror", None)
    if data.get("name") == "text8_or_simple8":
        data["name"] = _text_at_hand(root, Path(mirror) if mirror else None)
    name = data.get("name")
    if name not in CATALOG:
        raise ConfigError(f"data.name is {name!r}; choose one of: {', '.join([*CATALOG, 'text8_or_simple8'])}.")
    entry = CATALOG[name]
    config = load(entry.config, data, "data")
    spec = json.dumps([entry.version, asdict(config), *_files_named_in(config)], sort_keys=True)
    folder = root / "prepared" / f"{name}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"
    if folder.exists():
        return read(folder)
    temporary_folder(folder).rmdir()  # a folder that cannot be written is better known before the work than after
    arrays, manifest = entry.make(config, root, Path(mirror) if mirror else None)
    return write(folder, arrays, {"name": name, "kind": entry.kind, **manifest})

"""Reading W&B's offline files: records of wandb's protocol in LevelDB's log format."""

import json
from collections.abc import Iterator
from pathlib import Path

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator:
    """The records of a run-*.wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), FILE_HEADER, b""
    assert data.startswith(b":W&B")
    while at + RECORD_HEADER <= len(data):
        if BLOCK - at % BLOCK < RECORD_HEADER:  # too little is left of a block for a header: padding
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        payload = data[at + RECORD_HEADER : at + RECORD_HEADER + length]
        at += RECORD_HEADER + length
        assert kind in (FULL, FIRST, MIDDLE, LAST), kind
        parts = payload if kind in (FULL, FIRST) else parts + payload
        if kind in (FULL, LAST):
            yield Record.FromString(parts)


def _of_kind(path: Path, kind: str) -> list:
    return [getattr(record, kind) for record in records(path) if record.WhichOneof("record_type") == kind]


def _values(items) -> dict:
    """Values by key; the parts of an object W&B keeps, such as a table, by keys joined with dots."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def history(path: Path) -> list[dict]:
    """What was logged, row by row, without W&B's own columns."""
    return [{k: v for k, v in _values(row.item).items() if not k.startswith("_")} for row in _of_kind(path, "history")]


def run(path: Path):
    """The run's own record: group, job type, name, tags."""
    return _of_kind(path, "run")[0]


def config(path: Path) -> dict:
    return _values(run(path).config.update)


def summary(path: Path) -> dict:
    """The last value of every key of the summary."""
    return {k: v for part in _of_kind(path, "summary") for k, v in _values(part.update).items()}

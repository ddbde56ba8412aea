"""What a report keeps of run folders, so that a clone without them can show it: features, answers, neighbours.

Each is kept with the ids of the runs that it was made from, and is shown only beside a table that these runs stand in.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infwidth.errors import DataError
from infwidth.runs.store import Record


def write(path: Path, runs: Sequence[Record], content: Any) -> None:
    """Keep ``content`` (JSON) with the ids of the runs that it was made from."""
    kept = {"runs": sorted({r.id for r in runs}), "content": content}
    path.write_text(json.dumps(kept, ensure_ascii=False, separators=(",", ":"), default=float) + "\n", encoding="utf-8")


def read(path: Path, drawn: Mapping[str, Sequence[Record]]) -> Any | None:
    """What was kept, if all the runs that it was made from are among those drawn; None otherwise.

    DataError for a damaged file.
    """
    if not path.exists():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        known = {record.id for records in drawn.values() for record in records}
        return kept["content"] if set(kept["runs"]) <= known else None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path} cannot be read ({type(e).__name__}: {e}); remove it or restore it from git.") from e


def of_lowest_seed(records: Sequence[Record], file: str) -> tuple[Record, Path] | None:
    """The run of lowest seed whose folder is here and has that file, and the file's path."""
    for record in sorted(records, key=lambda r: r.seed):
        path = Path(record.folder) / file
        if record.folder and path.exists():
            return record, path
    return None

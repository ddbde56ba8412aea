"""Whether the code that made a run still stands, statement by statement, as today's (:mod:`infwidth.runs.fingerprint`).

A record's row is marked if a statement of its fingerprint has changed or is gone, unless a replay with other code came
out the same and that code stands.
Fingerprints lie beside an experiment's runs.csv, each stored once by its content.
"""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from infwidth.errors import DataError
from infwidth.runs import fingerprint
from infwidth.runs.store import FINGERPRINTS, Record

DECIDES_NUMBERS = False


def folders(results: Path, name: str) -> tuple[Path, Path]:
    """Where the fingerprints of an experiment's runs lie: those kept with its table, and those of local runs."""
    return results / name / FINGERPRINTS, results / FINGERPRINTS


def replayed(record: Record) -> list[str]:
    """The code with which a replay came out the same."""
    return [entry["fingerprint"] for entry in record.replay.get("agreed", [])]


def of_starts(record: Record) -> list[str]:
    """The code of every start of a run that was resumed."""
    return [start["fingerprint"] for start in record.provenance.get("starts", []) if start.get("fingerprint")]


def marker(results: Path, name: str) -> Callable[[Record], bool]:
    """A function that says of a record whether its row is to be marked."""
    today = functools.cache(fingerprint.today)

    @functools.cache
    def stands(digest: str) -> bool:
        try:
            return not fingerprint.changed(found(results, name, digest), today)
        except DataError:
            return False

    def marked(record: Record) -> bool:
        agreed, made = replayed(record), [record.fingerprint, *of_starts(record)]
        return not any(stands(digest) for digest in agreed) and not (record.fingerprint and all(map(stands, made)))

    return marked


def found(results: Path, name: str, digest: str) -> fingerprint.Fingerprint:
    """A fingerprint from where it lies. DataError if it is in neither folder."""
    kept, local = folders(results, name)
    return fingerprint.read(kept if (kept / f"{digest}.json").exists() else local, digest)


def keep(records: Iterable[Record], results: Path, name: str) -> None:
    """Keep the fingerprints of an experiment's records beside its table, and no others."""
    kept, _ = folders(results, name)
    wanted = {d for record in records for d in (*replayed(record), *of_starts(record), record.fingerprint) if d}
    for digest in sorted(wanted):
        if not (kept / f"{digest}.json").exists():
            try:
                fingerprint.write(found(results, name, digest), kept)
            except DataError:
                continue  # the row is marked: what made it is not known here
    for path in kept.glob("*.json"):
        if path.stem not in wanted:
            path.unlink()

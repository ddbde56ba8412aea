"""Where the runs of a section came from, in a sentence."""

from collections.abc import Sequence

from infwidth.runs.store import Record

PACKAGES = ("python", "torch", "numpy")


def sentence(records: Sequence[Record], what: str = "runs") -> str:
    """How many, how long, on what, with which packages, by which commits."""
    hours = sum(r.wall_seconds for r in records) / 3600
    peak = max(r.peak_memory_bytes for r in records) / 2**30
    hardware = "; ".join(sorted({r.hardware for r in records}))
    versions = records[0].versions
    packages = ", ".join(f"{name} {versions[name]}" for name in PACKAGES if name in versions)
    commits = " ".join(sorted({r.commit for r in records}))
    return (
        f"{len(records)} {what}, {hours:.2f} hours in all, peak memory {peak:.1f} GiB, on {hardware}; {packages}; "
        f"commits {commits}."
    )

"""What each experiment took, from the provenance of its planned runs."""

import dataclasses

import pytest

from infwidth.reporting import takes
from tests.reporting.claims import helpers
from tests.reporting.claims.helpers import record


def test_planned_runs_are_added_up_by_scale(tmp_path, monkeypatch):
    helpers.experiment(tmp_path, monkeypatch)
    long = dataclasses.replace(
        record("mu_limit", 0, 60.0), wall_seconds=7200.0, peak_memory_bytes=5 * 2**30, hardware="1 threads of X"
    )
    at_cpu = record("width_2", 0, 50.0, "cpu")
    unplanned = dataclasses.replace(at_cpu, id="mine", wall_seconds=9e9)
    unplanned.config["trainer"] = {**unplanned.config["trainer"], "learning_rate": 0.77}
    helpers.write(
        tmp_path / "results", [long, record("width_2", 0, 50.0), record("width_2", 0, 50.0, "cpu"), unplanned]
    )
    found = takes.table(tmp_path / "results").set_index("scale")
    assert found.loc["paper"].drop("hardware").tolist() == ["maml", "2 of 3", 2, "2.0 h", "2.0 h", "5.0 GiB"]
    assert found.loc["paper"].hardware == "1 threads of X; 2 threads of a CPU"
    assert found.loc["cpu"].tolist()[1:6] == ["1 of 3", 1, "60 s", "60 s", "1.0 GiB"]


@pytest.mark.parametrize(
    "seconds, said", [(12, "12 s"), (89, "89 s"), (600, "10 min"), (5399, "90 min"), (5400, "1.5 h"), (1e6, "277.8 h")]
)
def test_durations(seconds, said):
    assert takes.duration(seconds) == said


def test_sizes():
    assert [takes.gibibytes(n) for n in (2**31, 2**28, 2**20)] == ["2.0 GiB", "0.2 GiB", "1 MiB"]

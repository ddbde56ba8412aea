"""How many threads a run takes: what is asked for, what it had before, or what is free."""

import itertools

import pytest
import torch

from infwidth.training import threads


@pytest.fixture
def machine(monkeypatch):
    """machine(cores, in_use): a machine of so many cores, of which so many are computed on by others."""

    def of(cores, in_use):
        clock = itertools.count()
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(threads, "ALL", cores)
        monkeypatch.setattr(threads.os, "cpu_count", lambda: cores)
        monkeypatch.setattr(threads.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(threads.time, "monotonic", lambda: float(next(clock)))
        used = itertools.count(1000.0, in_use)
        monkeypatch.setattr(threads, "_core_seconds", lambda: next(used))

    return of


@pytest.fixture(autouse=True)
def as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    "cores, in_use, free", [(2, 0.0, 2), (2, 0.1, 2), (2, 0.97, 1), (2, 2.0, 1), (8, 2.9, 5), (8, 40, 1)]
)
def test_as_many_as_are_free(machine, cores, in_use, free):
    machine(cores, in_use)
    assert threads.free() == free


def test_what_is_asked_for_and_what_a_run_had_come_first(machine):
    machine(8, 7.0)
    assert [threads.settled(3), threads.settled(3, before=2), threads.settled(None, before=2)] == [3, 3, 2]
    assert threads.settled(None) == torch.get_num_threads() == 1


def test_the_environment_has_its_say(machine, monkeypatch):
    machine(8, 7.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert threads.free() == 8


def test_a_system_that_does_not_tell(machine, monkeypatch):
    machine(8, 7.0)
    monkeypatch.setattr(threads, "_core_seconds", lambda: None)
    assert threads.free() == 8


def test_this_system_tells_and_leaves_out_what_gives_way(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    stat.write_text("cpu  400 7000 100 90000 5 0 0 0 0 0\ncpu0 1 2 3 4\n")
    monkeypatch.setattr(threads, "Path", lambda path: stat)
    assert threads._core_seconds() == 500 / threads.os.sysconf("SC_CLK_TCK")
    stat.write_text("nothing")
    assert threads._core_seconds() is None

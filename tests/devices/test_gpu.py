"""The demo's experiments on a GPU, where there is one: the narrowest row of every family comes to its end, and begins
as on the CPU."""

import re
from collections.abc import Iterator

import pytest
import torch

from infwidth import replaying, report
from infwidth.job import specified
from infwidth.running import run
from infwidth.runs.plan import Planned, plan_of
from tests.conftest import REPOSITORY
from tests.devices.pairings import with_keys

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]

ALIKE = 3
"""First losses that are compared: those after them differ by what rounding has grown to."""


def experiments() -> list[str]:
    """Those of `make demo` that train: measurements of the theory are taken on the CPU."""
    line = re.search(r"^demo:.*\n\tfor experiment in (.*?); do", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    return [name for name in line[1].split() if name != report.THEORY]


def narrowest(runs: list[Planned]) -> Iterator[Planned]:
    """Of each family the run of the smallest width, or the first one of a family without."""
    for name in sorted({planned.config["model"]["name"] for planned in runs}):
        of_family = [planned for planned in runs if planned.config["model"]["name"] == name]
        yield min(of_family, key=lambda planned: planned.config["model"].get("width", 0))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("experiment", experiments())
def test_the_narrowest_rows(experiment, tmp_path, subtests):
    gpu = f"cuda:{torch.cuda.device_count() - 1}"
    places = [f"paths.results={tmp_path}/gpu", f"data.root={tmp_path}/data", f"trainer.device={gpu}"]
    plan = plan_of(experiment, [], None, "demo", ())
    for planned in narrowest(plan.runs("demo", 1, None, ["logger=none", "trainer.progress=false", *places])):
        with subtests.test(planned.row):
            assert run(planned.config)["status"] == "finished"
            on_cpu = with_keys(planned.config, {"trainer.device": "cpu", "paths.results": f"{tmp_path}/cpu"})
            losses, others = (replaying.first_losses(specified(config)) for config in (planned.config, on_cpu))
            assert losses[:ALIKE] == pytest.approx(others[:ALIKE], rel=1e-3)

"""The keys of task=maml_omniglot."""

from dataclasses import dataclass
from typing import Any, Literal

from infwidth.config import key
from infwidth.tasks.description import Asks, TaskConfig


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """The inner loop: steps of SGD at a rate on the mean support loss; order of the meta-gradient through them."""

    rate: float = key(above=0, default=0.4)
    steps: int = key(at_least=1, default=1)
    test_steps: int = key(at_least=1, default=20)
    order: Literal["first", "second"] = "first"
    parameters: Literal["all", "readout", "hidden"] | None = None

    @property
    def adapting(self) -> str:
        """The parameters that adapt."""
        return self.parameters or "all"


@dataclass(frozen=True, kw_only=True)
class MAMLConfig(TaskConfig):
    """conf/task/maml_omniglot.yaml"""

    name: Literal["maml_omniglot"] = "maml_omniglot"
    ways: int = key(at_least=2, default=5)
    shots: int = key(at_least=1, default=1)
    queries: int = key(at_least=1, default=1)
    meta_batch: int = key(at_least=1, default=32)
    steps_per_epoch: int = key(at_least=1, default=100)
    evaluation_episodes: int = key(at_least=1, default=3200)
    test_seeds: int | None = key(at_least=2, default=None)
    test_episodes: int | None = key(at_least=1, default=None)
    adaptation: AdaptationConfig = AdaptationConfig()
    reduction: Literal["sum", "mean"] = "sum"
    episodes: Literal["vectorised", "learn2learn"] = "vectorised"
    probe_classes: int = key(at_least=2, default=10)

    def asks(self) -> Asks:
        return Asks(adaptation=(self.adaptation.adapting, self.adaptation.order))

    def shortened(self) -> dict[str, Any]:
        """Keys of a run of some hundred meta-steps that takes every path of a whole one."""
        sets = {"task.test_seeds": 2, "task.test_episodes": 160} if self.test_seeds else {}
        return {"task.steps_per_epoch": min(self.steps_per_epoch, 40), "task.evaluation_episodes": 160, **sets}

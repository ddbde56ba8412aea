"""The specification of a run: one object, from which everything that concerns the run reads.

A plain config is validated, the pairing of task, model and parametrization is checked (here and nowhere else), and what
decides the numbers is told from what does not: a key says so where it is declared (:func:`infwidth.config.key`).
The id is a hash of what decides: task, data by checksum, model, parametrization by its exponents, settings, trainer and
seed, files by content; not paths, logger, device.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from infwidth import models, tasks
from infwidth.config import key, load
from infwidth.data.prepared import Prepared
from infwidth.described import module_of
from infwidth.errors import ConfigError
from infwidth.models import family
from infwidth.models.contract import Model
from infwidth.models.cost import Shape
from infwidth.models.family import Family, FamilyConfig
from infwidth.parametrization import ABC, ParametrizationConfig
from infwidth.runs.folders import PathsConfig, folder_of_runs
from infwidth.seeding import stream
from infwidth.tasks import description
from infwidth.tasks.contract import Task
from infwidth.tasks.description import Description, TaskConfig
from infwidth.training.config import TrainerConfig

SCALES = ("demo", "cpu", "paper")
"""From the smallest to the published one."""


@dataclass(frozen=True, kw_only=True)
class LoggerConfig:
    """conf/logger"""

    name: Literal["wandb", "none"]
    project: str = "infwidth"
    entity: str | None = None
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """conf/train.yaml"""

    name: str
    row: str | None = None
    seed: int = key(at_least=0, default=0)
    scale: Literal["demo", "cpu", "paper"] = "cpu"
    force: bool = False
    replay: bool | None = None
    accept_changed_code: bool = False
    task: dict[str, Any]
    data: dict[str, Any]
    model: dict[str, Any]
    parametrization: ParametrizationConfig
    trainer: TrainerConfig
    logger: LoggerConfig
    paths: PathsConfig


@dataclass(frozen=True)
class Spec:
    """A validated run.

    config: as it was composed; run: its keys apart from the groups that follow; abc: the parametrization, resolved.
    """

    config: Mapping[str, Any]
    run: RunConfig
    description: Description
    task: TaskConfig
    family: Family
    model: FamilyConfig
    abc: ABC

    @property
    def trainer(self) -> TrainerConfig:
        return self.run.trainer

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that the run's numbers come from, with what they import: its task, its model family, the loop."""
        task, model = module_of(self.task.name, tasks), module_of(self.model.name, models)
        return (task, model, "infwidth.training.trainer")

    @property
    def label(self) -> str:
        """What the run is called on the screen."""
        width = f" width {self.model.width}" if hasattr(self.model, "width") else ""
        name = self.run.row or f"{self.task.name} {self.model.name}{width} {self.run.parametrization.name}"
        return f"{name} seed {self.run.seed}"

    def deciding(self) -> dict[str, Any]:
        """What decides the numbers apart from data and seed: what two seeds of a row have in common."""
        found = {"task": deciding(self.task), "model": deciding(self.model), "trainer": deciding(self.trainer)}
        if self.family.chooses:
            found["parametrization"] = exponents(self.abc)
        return found

    def identity(self, checksum: str) -> str:
        """The run's id, for data of this checksum."""
        return run_id({**self.deciding(), "seed": self.run.seed, "data": checksum})

    def build_task(self, data: Prepared, device: torch.device) -> Task:
        """The task on prepared data. ConfigError for data of another kind."""
        description.require_kind(self.description, data)
        return self.description.build(self.task, data, self.run.seed, device, self.dtype)

    def build_model(self, shape: Shape, device: torch.device) -> Model:
        """A model as it starts."""
        return self.model.build(self.abc, shape, stream(self.run.seed, "model"), self.dtype).to(device)

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.trainer.dtype)


def specified(config: Mapping[str, Any]) -> Spec:
    """The specification of a plain config. ConfigError in one sentence for whatever is wrong with it."""
    run = load(RunConfig, config, "")
    folder_of_runs(run.paths.results, run.name)  # refuses a name that is no folder's
    task, kind = description.config_of(run.task), family.find(run.model.get("name"))
    model = family.config_of(run.model)
    own = model.own()
    if not kind.chooses and run.parametrization.name not in ("auto", own.name):
        raise ConfigError(
            f"model={model.name} is what it is in one parametrization only, not in "
            f"parametrization={run.parametrization.name}; use parametrization=auto, or model=finite for a choice."
        )
    _require_pairing(task, model, run.trainer)
    abc = run.parametrization.build(own)
    model.check(abc)
    return Spec(config, run, description.find(task.name), task, kind, model, abc)


def _require_pairing(task: TaskConfig, model: FamilyConfig, trainer: TrainerConfig) -> None:
    """ConfigError, with what would do, for a task and a model that do not go together."""
    asks, offers = task.asks(), model.offers()
    if asks.bags and not offers.bags:
        raise ConfigError(
            f"task={task.name} has inputs that are bags of indices, "
            f"which model={model.name} with these keys does not take. "
            "They go with one linear hidden layer only: model=mu_limit; nngp_limit or ntk_limit with "
            "model.activation=linear and model.sigma_b=0; "
            "or model=finite with model.depth=1 and model.activation=linear."
        )
    if not asks.bags and not offers.dense:
        raise ConfigError(
            f"task={task.name} has dense inputs, which model={model.name} does not take; choose another model."
        )
    if offers.closed_form and not asks.training_set:
        raise ConfigError(
            f"model={model.name} in closed form is fitted to one set of examples, "
            f"which task={task.name} does not have; set model.solve=descent."
        )
    if offers.closed_form and trainer.epochs:
        raise ConfigError("a model in closed form is fitted at once and not trained; set trainer.epochs=0.")
    if asks.adaptation and asks.adaptation not in offers.adapts:
        raise ConfigError(_adaptation(task, model, *asks.adaptation))


def _adaptation(task: TaskConfig, model: FamilyConfig, parameters: str, order: str) -> str:
    """The sentence for a model that does not adapt as a task asks."""
    asked = f"task.adaptation.parameters={parameters} and task.adaptation.order={order}"
    ways = [f"parameters={p} order={o}" for p, o in sorted(model.offers().adapts)]
    if not ways:
        return (
            f"model={model.name} with these keys does not adapt to episodes, as task={task.name} asks; "
            "choose another model."
        )
    frozen = (
        " (parameters=readout order=second: with model.readout=zero and model.readout_multiplier=0)"
        if hasattr(model, "readout_multiplier")
        else ""
    )
    return (
        f"model={model.name} does not adapt with {asked}; it adapts with task.adaptation's {', '.join(ways)}{frozen}."
    )


def deciding(config: Any) -> dict[str, Any]:
    """The keys of a config's dataclass that decide numbers, at other than their neutral value.

    Files stand as the sha256 of their content.
    """
    idle = config.idle() if hasattr(config, "idle") else ()
    found = {}
    for field in dataclasses.fields(config):
        value, about = getattr(config, field.name), field.metadata
        if field.name in idle or not about.get("decides", True) or value == about.get("neutral"):
            continue
        if about.get("file"):
            value = file_checksum(Path(value), f"{field.name}={value}")
        found[field.name] = deciding(value) if dataclasses.is_dataclass(value) else value
    return found


def data_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is made of a dataset, apart from which one it is and where it lies: its data come in by their checksum."""
    return {k: v for k, v in data.items() if v is not None and k not in ("name", "root", "mirror", "path", "questions")}


def file_checksum(path: Path, key: str) -> str:
    """sha256 of a file that a key names. ConfigError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as f:
            while block := f.read(1 << 20):
                digest.update(block)
    except OSError as e:
        raise ConfigError(f"{key} cannot be read ({e.strerror}); give a file that exists.") from e
    return digest.hexdigest()


def exponents(abc: ABC) -> list[str]:
    """Exponents a, then b, of a parametrization shifted to c = 0: equal for parametrizations that train alike."""
    shifted = abc.shifted(abc.c / 2)
    return [str(x) for x in (*shifted.a, *shifted.b)]


def run_id(deciding: Mapping[str, Any]) -> str:
    """Twelve hex digits of the sha256 of what decides (canonical JSON, in which 1.0 and 1 are the same)."""
    return hashlib.sha256(json.dumps(canonical(deciding), sort_keys=True).encode()).hexdigest()[:12]


def canonical(value: Any) -> Any:
    """A value in the form in which equal ones have equal JSON."""
    if isinstance(value, Mapping):
        return {k: canonical(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value

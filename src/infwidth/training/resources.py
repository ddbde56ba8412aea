"""The device of a run, and what the run will take of it: memory and time, said before it starts, or refused."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from infwidth.errors import ConfigError
from infwidth.models.cost import CONCLUSION, EVALUATION, START, TRAINING, Footprint, Shape, Sizes, Work
from infwidth.models.family import FamilyConfig, largest_fitting
from infwidth.ranks import ALONE, Ranks
from infwidth.tasks.contract import Task
from infwidth.training import prediction
from infwidth.training.config import Length, TrainerConfig

DECIDES_NUMBERS = False

CPU = torch.device("cpu")

SHARE = 0.9
"""Of the free memory, that a run may be predicted to take."""

MOST_RANKS = 4096
"""As many are tried for a run that is too large for fewer."""

MEASUREMENTS = "the measurement of this machine"
"""What a run does before it starts, to say how long it will take."""

LIBRARIES = {"cpu": 15_000_000}
"""Bytes that the libraries take for themselves on a device when they first compute: for threads, products, factors."""


def chosen_device(trainer: TrainerConfig, ranks: Ranks = ALONE) -> torch.device:
    """The device of trainer.device, of several GPUs this rank's own.

    ConfigError if nothing can be computed on it.
    """
    name = trainer.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.size > 1 and name.startswith("cuda"):
        name = _own_gpu(name, ranks)
    try:
        device = torch.device(name)
        # Accuracies and sums are taken in float64, which not every GPU has.
        torch.ones(1, dtype=torch.float64, device=device).sum().item()
    except (RuntimeError, AssertionError, ImportError, TypeError) as e:  # each kind has its own way to say no
        raise ConfigError(
            f"trainer.device={name} cannot be used ({str(e).splitlines()[0]}); use auto, cpu, or cuda where there is a "
            "GPU."
        ) from e
    return device


def _own_gpu(name: str, ranks: Ranks) -> str:
    """The GPU of this rank, which is made the one that is meant where none is named."""
    if name != "cuda" and ranks.here > 1:
        raise ConfigError(
            f"trainer.device={name} is one GPU, and {ranks.here} ranks on a machine need one each; use "
            "trainer.device=cuda."
        )
    if ranks.here > torch.cuda.device_count():
        raise ConfigError(
            f"there are {ranks.here} ranks on a machine with {torch.cuda.device_count()} GPUs; start torchrun with at "
            "most as many (--nproc-per-node), or use trainer.device=cpu."
        )
    own = name if name != "cuda" else f"cuda:{ranks.place}"
    torch.cuda.set_device(own)
    return own


def asked_of_model(trainer: TrainerConfig, task: Task, length: Length, ranks: Ranks = ALONE) -> Shape:
    """What the run asks of its model."""
    return Shape(
        inputs=task.inputs,
        outputs=task.outputs,
        bags=task.bags,
        examples=task.examples,
        batch=task.batch,
        steps=length.last,
        evaluated=task.evaluated * length.evaluations(trainer.evaluate_every),
        per_epoch=length.per_epoch,
        at_once=task.at_once,
        episodes=task.episodes,
        evaluated_episodes=task.evaluated_episodes,
        ranks=ranks,
    )


@dataclass(frozen=True)
class PredictedPeak:
    """The most bytes that a run takes at a time, and what it is doing then."""

    bytes: int
    phase: str


@dataclass(frozen=True)
class Resources:
    """What a model of these keys takes, for a run that asks this of it, on a device.

    keeps_best: whether a copy of the best state is kept beside the present one.
    """

    model: FamilyConfig
    task: Task
    shape: Shape
    device: torch.device
    dtype: torch.dtype
    keeps_best: bool = False

    @property
    def state_bytes(self) -> int:
        """Bytes of the model's state when it is largest."""
        return self.model.memory(self.shape, self.dtype)

    @cached_property
    def sizes(self) -> Sizes | None:
        """Those of a typical batch of bags."""
        return self.task.typical()

    @cached_property
    def work(self) -> Work | None:
        """What the run computes; None where that is not known before."""
        known = self.sizes is not None or self.shape.examples
        work = self.model.work(self.shape, self.sizes, self.dtype) if known else None
        return work if work is not None and work.flops else None

    def peak(self, shape: Shape | None = None) -> PredictedPeak:
        """The peak of the whole run: the data, what the model keeps, and what is taken besides by the phase that takes
        most. shape: what another run asks of the model."""
        shape = shape or self.shape
        model = self.model.footprint(shape, self.sizes, self.dtype)
        found = self._phases(model, shape)
        phase = max(found, key=found.get)
        return PredictedPeak(self._there + found[phase], phase)

    @property
    def _there(self) -> int:
        """Bytes of what is there before the model is: the libraries, and the data."""
        return LIBRARIES.get(self.device.type, 0) + self.task.resident

    def _phases(self, model: Footprint, shape: Shape) -> dict[str, int]:
        """Bytes by phase, the data apart; the copy of the best state is gone where the run concludes."""
        besides = Counter(dict.fromkeys((START, TRAINING, EVALUATION, CONCLUSION), 0))
        besides.update(model.phases)
        besides.update(self.task.takes(model, shape))
        copied = {
            phase: model.snapshot if self.keeps_best and phase not in (START, CONCLUSION) else 0 for phase in besides
        }
        return {phase: model.held + taken + copied[phase] for phase, taken in besides.items()}

    def require_memory(self) -> None:
        """ConfigError, before the model is made, if a batch or the run's peak does not fit."""
        if self.device.type != CPU.type:
            self._require_memory_of_the_cpu()
        free = self._free(self.device)
        if free is None:
            return
        batch = self.shape.batch * self.shape.inputs * self.dtype.itemsize
        if batch > free:
            raise ConfigError(
                f"a step takes {self.shape.batch} examples of {self.shape.inputs} numbers, {batch / 1e9:.1f} GB, and "
                f"{self.device} has {free / 1e9:.1f} GB free; lower the key of task that says how many a step takes."
            )
        available = self._there + int(free * SHARE)
        if self.peak().bytes > available:
            raise ConfigError(self._too_large(free, available))

    def _free(self, device: torch.device) -> int | None:
        """Bytes that this process can have of a device: the CPU's it shares with the other ranks of its machine."""
        free = prediction.free_memory(device)
        return free if free is None or device.type != CPU.type else free // self.shape.ranks.here

    def _require_memory_of_the_cpu(self) -> None:
        """ConfigError if a model that is to be on a GPU cannot be made on the CPU, or copied there to be saved."""
        at_first = self.model.memory(replace(self.shape, steps=0, examples=0), self.dtype)
        size, free = max(at_first, self.state_bytes), self._free(CPU)
        if free is not None and size > free * SHARE:
            raise ConfigError(
                f"model={self.model.name} is made on the CPU, and copied there for its checkpoints, which takes "
                f"{size / 1e9:.1f} GB of the CPU's memory, and {free / 1e9:.1f} GB of it are free; choose a smaller "
                "model or fewer steps, or take a machine with more memory."
            )

    def _too_large(self, free: int, available: int) -> str:
        model, shape, peak = self.model, self.shape, self.peak()
        return (
            f"model={model.name} with {shape.inputs} inputs and {shape.outputs} outputs needs "
            f"{peak.bytes / 1e9:.1f} GB at its peak, in {peak.phase}, and {self.device} has {free / 1e9:.1f} GB free "
            f"beside the data; {self._remedy(peak, available)} {self._more_ranks(available)}take a device with more "
            "memory (trainer.device)."
        )

    def _more_ranks(self, available: int) -> str:
        """A part of a sentence that says how many processes suffice, with so many bytes each; empty where none do."""
        if self.model.splits(self.shape) is None:
            return ""
        for size in range(self.shape.ranks.size + 1, MOST_RANKS + 1):
            if self.peak(replace(self.shape, ranks=Ranks(0, size))).bytes <= available:
                return f"start torchrun with {size} ranks that have as much memory each, or "
        return ""

    def _remedy(self, peak: PredictedPeak, available: int) -> str:
        """The beginning of a sentence that says how to get down to so many bytes."""
        if spared := self.task.spared_by(peak.phase):
            return f"set {spared}, which does without it, or"
        name = self.model.grows_with()
        largest = largest_fitting(name, self.shape, available, lambda shape: self.peak(shape).bytes)
        epochs, smaller = largest // self.task.steps_per_epoch, "choose a smaller model, or"
        if name == "inputs":
            return self.task.remedy(largest) or smaller
        if name == "examples" and largest:
            return (
                f"the largest number of training images that fits is {largest}: set task.images=subset "
                f"task.subset={largest}, or"
            )
        if name == "steps" and epochs:
            return (
                f"the largest number of epochs that fits is {epochs}: set trainer.epochs={epochs}, or "
                "model.storage=bfloat16, or"
            )
        return smaller

    def predicted(self) -> "Predicted":
        """Memory and time of the run."""
        peak, work = self.peak(), self.work
        if work is not None:
            measuring = self._there + prediction.taken_by_measurements(work, self.dtype)
            peak = max(peak, PredictedPeak(measuring, MEASUREMENTS), key=lambda peak: peak.bytes)
        memory = f"{peak.bytes / 1e9:.2f} GB of memory at most, in {peak.phase}"
        if work is None:
            return Predicted(self.state_bytes, peak, None, memory)
        rates = prediction.measured(work, self.device, self.dtype)
        seconds = rates.seconds(work)
        what = f" of training for {self.shape.steps} steps" if self.shape.steps else " in closed form"
        moved = f" and {rates.bytes / 1e9:.0f} GB/s" if work.bytes else ""
        return Predicted(
            self.state_bytes,
            peak,
            round(seconds, 1),
            f"{memory}, about {seconds / 60:.1f} min{what} ({rates.flops / 1e9:.0f} GFLOP/s{moved} measured on "
            f"{self.device})",
        )


@dataclass(frozen=True)
class Predicted:
    """state_bytes: of the model when it is largest; train_seconds: None where the time is not predicted; sentence: the
    same for people."""

    state_bytes: int
    peak: PredictedPeak
    train_seconds: float | None
    sentence: str

    def summary(self) -> dict[str, float | str]:
        found = {"parameter_bytes": self.state_bytes, "memory_bytes": self.peak.bytes, "memory_phase": self.peak.phase}
        return found if self.train_seconds is None else {**found, "train_seconds": self.train_seconds}

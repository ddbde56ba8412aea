"""The device of a run, and what the run will take of it: memory and time, said before it starts, or refused."""

from dataclasses import dataclass, replace

import torch

from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.models.family import FamilyConfig, largest_fitting
from infwidth.ranks import ALONE, Ranks
from infwidth.tasks.contract import Task
from infwidth.training import prediction
from infwidth.training.config import Length, TrainerConfig

DECIDES_NUMBERS = False

CPU = torch.device("cpu")

FOR_PARAMETERS = 0.9
"""Share of the free memory that a model's parameters may take."""


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
    evaluated = task.evaluated * length.evaluations(trainer.evaluate_every)
    steps, per_epoch = length.last, length.per_epoch
    counts = (task.examples, task.batch, steps, evaluated, per_epoch)
    return Shape(task.inputs, task.outputs, task.bags, *counts, ranks)


@dataclass(frozen=True)
class Resources:
    """What a model of these keys takes, for a run that asks this of it, on a device."""

    model: FamilyConfig
    shape: Shape
    device: torch.device
    dtype: torch.dtype

    @property
    def parameter_bytes(self) -> int:
        """Bytes of what the model comes to hold."""
        return self.model.memory(self.shape, self.dtype)

    @property
    def grown(self) -> int:
        """Bytes of the model's state at the end; 0 where that is as large as at the start."""
        return self.model.grown(self.shape, self.dtype)

    def require_memory(self, task: Task) -> None:
        """ConfigError, before anything is allocated, if the model or a batch does not fit."""
        if self.device.type != CPU.type:
            self._require_memory_of_the_cpu()
        free = self._free(self.device)
        if free is None:
            return
        if self.device.type == "cpu":
            free //= self.shape.ranks.here
        batch = self.shape.batch * self.shape.inputs * self.dtype.itemsize
        if batch > free:
            raise ConfigError(
                f"a step takes {self.shape.batch} examples of {self.shape.inputs} numbers, {batch / 1e9:.1f} GB, and "
                f"{self.device} has {free / 1e9:.1f} GB free; lower the key of task that says how many a step takes."
            )
        if self.parameter_bytes > free * FOR_PARAMETERS:
            raise ConfigError(self._too_large(task, free))

    def _free(self, device: torch.device) -> int | None:
        """Bytes that this process can have of a device: the CPU's it shares with the other ranks of its machine."""
        free = prediction.free_memory(device)
        return free if free is None or device.type != CPU.type else free // self.shape.ranks.here

    def _require_memory_of_the_cpu(self) -> None:
        """ConfigError if a model that is to be on a GPU cannot be made on the CPU, or copied there to be saved."""
        at_first = self.model.memory(replace(self.shape, steps=0, examples=0), self.dtype)
        size, free = max(at_first, self.grown), self._free(CPU)
        if free is not None and size > free * FOR_PARAMETERS:
            raise ConfigError(
                f"model={self.model.name} is made on the CPU, and copied there for its checkpoints, which takes "
                f"{size / 1e9:.1f} GB of the CPU's memory, and {free / 1e9:.1f} GB of it are free; choose a smaller "
                "model or fewer steps, or take a machine with more memory."
            )

    def _too_large(self, task: Task, free: int) -> str:
        model, shape = self.model, self.shape
        name, largest = largest_fitting(model, shape, int(free * FOR_PARAMETERS), self.dtype)
        epochs, smaller = largest // task.steps_per_epoch, "choose a smaller model, or"
        remedies = {"inputs": task.remedy(largest) or smaller, "examples": smaller, "steps": smaller}
        if largest:
            remedies["examples"] = (
                f"the largest number of training images that fits is {largest}: set task.images=subset "
                f"task.subset={largest}, or"
            )
        if epochs:
            remedies["steps"] = (
                f"the largest number of epochs that fits is {epochs}: set trainer.epochs={epochs}, or "
                "model.storage=bfloat16, or"
            )
        return (
            f"model={model.name} with {shape.inputs} inputs and {shape.outputs} outputs needs "
            f"{self.parameter_bytes / 1e9:.1f} GB for its parameters, and {self.device} has {free / 1e9:.1f} GB free, "
            f"of which batches and evaluation need a tenth; {remedies[name]} take a device with more memory "
            "(trainer.device)."
        )

    def predicted(self, task: Task) -> "Predicted | None":
        """Memory and time of the run; None for a run of which they are not predicted."""
        sizes = task.typical()
        work = self.model.work(self.shape, sizes, self.dtype) if sizes is not None or self.shape.examples else None
        if work is None or not work.flops:
            return None
        rates = prediction.measured(work, self.device, self.dtype)
        seconds, size = rates.seconds(work), self.parameter_bytes
        what = f" of training for {self.shape.steps} steps" if self.shape.steps else " in closed form"
        return Predicted(
            size,
            round(seconds, 1),
            f"{size / 1e9:.2f} GB of parameters, about {seconds / 60:.1f} min{what} ({rates.flops / 1e9:.0f} GFLOP/s "
            f"and {rates.bytes / 1e9:.0f} GB/s measured on {self.device})",
        )


@dataclass(frozen=True)
class Predicted:
    """sentence: the same for people."""

    parameter_bytes: int
    train_seconds: float
    sentence: str

    def summary(self) -> dict[str, float]:
        return {"parameter_bytes": self.parameter_bytes, "train_seconds": self.train_seconds}

"""The device of a run, and what the run will take of it: memory and time, said before it starts, or refused."""

import sys

import torch

from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.models.family import FamilyConfig, largest_fitting
from infwidth.tasks.contract import Task
from infwidth.training import prediction
from infwidth.training.trainer import TrainerConfig

ALL_THREADS = torch.get_num_threads()
"""What trainer.threads=null means, also after a run in the same process that asked for fewer."""

FOR_PARAMETERS = 0.9
"""Share of the free memory that a model's parameters may take."""


def chosen_device(trainer: TrainerConfig) -> torch.device:
    """The device of trainer.device, its threads set. ConfigError if it cannot be used."""
    torch.set_num_threads(trainer.threads or ALL_THREADS)
    name = trainer.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as e:
        raise ConfigError(
            f"trainer.device={name} cannot be used ({str(e).splitlines()[0]}); use auto, cpu, or cuda where there is a GPU."
        ) from e
    return device


def asked_of_model(trainer: TrainerConfig, task: Task) -> Shape:
    """What the run asks of its model."""
    per_epoch = task.steps_per_epoch
    ends = (trainer.epochs * per_epoch, trainer.steps or sys.maxsize, (trainer.stop_epoch or sys.maxsize) * per_epoch)
    steps = min(ends)
    evaluations = steps // (per_epoch * trainer.evaluate_every) + 1
    evaluated = task.evaluated * evaluations
    return Shape(task.inputs, task.outputs, task.bags, task.examples, task.batch, steps, evaluated, per_epoch)


def require_memory(model: FamilyConfig, task: Task, shape: Shape, device: torch.device, dtype: torch.dtype) -> None:
    """ConfigError, before anything is allocated, if what the model comes to hold does not fit."""
    needed, free = model.memory(shape, dtype), prediction.free_memory(device)
    if free is None or needed <= free * FOR_PARAMETERS:
        return
    name, largest = largest_fitting(model, shape, int(free * FOR_PARAMETERS), dtype)
    epochs = largest // task.steps_per_epoch
    remedies = {
        "inputs": task.remedy(largest) or "choose a smaller model, or",
        "examples": f"the largest number of training images that fits is {largest}: set task.images=subset "
        f"task.subset={largest}, or",
        "steps": f"the largest number of epochs that fits is {epochs}: set trainer.epochs={epochs}, or "
        "model.storage=bfloat16, or",
    }
    raise ConfigError(
        f"model={model.name} with {shape.inputs} inputs and {shape.outputs} outputs needs {needed / 1e9:.1f} GB for its "
        f"parameters, and {device} has {free / 1e9:.1f} GB free, of which batches and evaluation need a tenth; "
        f"{remedies[name]} take a device with more memory (trainer.device)."
    )


def predicted(
    model: FamilyConfig, task: Task, shape: Shape, device: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    """Memory and time of the run, printed; empty for a run of which they are not predicted."""
    sizes = task.typical()
    work = model.work(shape, sizes, dtype) if sizes is not None or shape.examples else None
    if work is None or not work.flops:
        return {}
    rates = prediction.measured(work, device, dtype)
    seconds, size = rates.seconds(work), model.memory(shape, dtype)
    what = f" of training for {shape.steps} steps" if shape.steps else " in closed form"
    measured = f"{rates.flops / 1e9:.0f} GFLOP/s and {rates.bytes / 1e9:.0f} GB/s measured on {device}"
    print(f"predicted: {size / 1e9:.2f} GB of parameters, about {seconds / 60:.1f} min{what} ({measured})", flush=True)
    return {"parameter_bytes": size, "train_seconds": round(seconds, 1)}

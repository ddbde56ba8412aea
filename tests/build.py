"""Models and tasks from plain config groups, as a run builds them."""

import torch

from infwidth.config import load
from infwidth.errors import ConfigError
from infwidth.models.cost import Shape
from infwidth.models.family import config_of
from infwidth.parametrization import ParametrizationConfig
from infwidth.tasks import description


def built(model, parametrization, shape: Shape, generator, dtype=torch.float32):
    """A model of a config group; ConfigError where the parametrization does not go with it."""
    config = config_of(model)
    abc = load(ParametrizationConfig, parametrization, "parametrization").build(config.own())
    config.check(abc)
    if shape.bags and not config.offers().bags:
        raise ConfigError("it takes no bags of indices")
    return config.build(abc, shape, generator, dtype)


def task_of(task, data, seed=0, device=None, dtype=torch.float32):
    """A task of a config group on prepared data."""
    found = description.find(task["name"])
    return found.build(description.config_of(task), data, seed, device or torch.device("cpu"), dtype)

"""task=cifar10: classification of images, of CIFAR10 or of data of the same form."""

import torch

from infwidth.data.prepared import Prepared
from infwidth.tasks.description import Description
from infwidth.tasks.images.task import Images, ImagesConfig


def build(config: ImagesConfig, data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> Images:
    arrays = {name: torch.tensor(a) for name, a in data.arrays.items()}
    return Images(config, arrays, tuple(data.manifest["class_names"]), seed, device, dtype)


TASK = Description("cifar10", ImagesConfig, "images", build)

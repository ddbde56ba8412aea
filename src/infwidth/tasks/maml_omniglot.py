"""task=maml_omniglot: few-shot classification by MAML, on Omniglot or on data of the same form."""

import torch

from infwidth.data.prepared import Prepared
from infwidth.tasks.description import Description
from infwidth.tasks.maml.config import MAMLConfig
from infwidth.tasks.maml.episodes import Pool
from infwidth.tasks.maml.task import MAML


def build(config: MAMLConfig, data: Prepared, seed: int, device: torch.device, dtype: torch.dtype) -> MAML:
    """The pools are copied out of the read-only memory map, to the device that they are gathered on."""
    pools = {}
    for split in ("train", "validation", "test"):
        pools[split] = Pool(torch.tensor(data.arrays[split], device=device), split)
        data.give_back()
    return MAML(config, pools, tuple(data.manifest["test_class_names"]), seed, dtype)


TASK = Description("maml_omniglot", MAMLConfig, "few-shot images", build)

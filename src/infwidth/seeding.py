"""Random streams that depend on the seed and on what they are for, and on nothing that ran before.

A run that is killed and resumed, or a test that draws one epoch alone, therefore sees the numbers of an
undisturbed run.
"""

import hashlib

import torch


def derived_seed(*names: int | str) -> int:
    """A 63-bit seed from the names of a stream, such as ``(seed, "train", epoch)``."""
    digest = hashlib.sha256(repr(names).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(*names: int | str) -> torch.Generator:
    """A CPU generator for the stream of that name. Drawn on the CPU, the numbers are the same on every device."""
    return torch.Generator().manual_seed(derived_seed(*names))

"""Memory for tiles, used again: fresh pages cost several times what is computed into them."""

from dataclasses import dataclass

import torch
from torch import Tensor


class Spare:
    """Memory of tiles (b, n), n at most ``block``, that nobody needs any more.

    What is taken from it is given back by whoever took it, or is lost to it.
    """

    def __init__(self, block: int):
        self.block = block
        self.free: list[Tensor] = []

    def __deepcopy__(self, memo) -> "Spare":
        """A copy of a model needs none of the memory that the model has to spare."""
        return Spare(self.block)

    def empty(self, b: int, n: int, dtype: torch.dtype, device: torch.device, transposed: bool) -> Tensor:
        """A tile (b, n), whose columns lie one after the other where it is ``transposed``."""
        size = b * self.block  # that of a full block also for the last one, whose rows grow with every step
        found = next((i for i, t in enumerate(self.free) if self._fits(t, size, dtype, device)), None)
        if found is None:
            self.free.clear()  # tiles of another size, of batches that are over
            flat = torch.empty(size, dtype=dtype, device=device)
        else:
            flat = self.free.pop(found)
        return flat.as_strided((b, n), (1, b) if transposed else (n, 1))

    @staticmethod
    def _fits(flat: Tensor, size: int, dtype: torch.dtype, device: torch.device) -> bool:
        return flat.numel() >= size and flat.dtype == dtype and flat.device == device

    def like(self, tile: Tensor) -> Tensor:
        """A tile of the same shape and layout."""
        return self.empty(*tile.shape, tile.dtype, tile.device, tile.stride() != (tile.shape[1], 1))

    def take_back(self, *tiles: Tensor) -> None:
        """Tiles that were taken from here and are not needed any more."""
        for tile in tiles:
            self.free.append(tile.as_strided((tile.untyped_storage().nbytes() // tile.itemsize,), (1,)))


@dataclass
class Trace:
    """What one backward pass needs of a forward pass: 2 pi V'(q) and sqrt(1 - q^2) (b, n) of each block of n rows."""

    tiles: list[tuple[Tensor, Tensor]] | None

    def used_up(self) -> list[tuple[Tensor, Tensor]]:
        """The tiles, once: the backward pass gives their memory back. RuntimeError the second time."""
        if self.tiles is None:
            raise RuntimeError(
                "this pullback has been used, and its memory serves other batches; call linearized again for another."
            )
        tiles, self.tiles = self.tiles, None
        return tiles

"""Episodes of few-shot classification drawn by index from resident tensors: a whole epoch in a few vectorised draws.

An episode has ``ways`` classes in random order (so labels are permuted), and for each class ``shots`` support and
``queries`` query images, all different.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from infwidth.errors import DataError


@dataclass(frozen=True)
class Pool:
    """The images of one split: pixels (classes, images per class, d), uint8 or float, on the compute device.

    A uint8 pixel p stands for p / 255.
    """

    pixels: Tensor
    name: str

    @property
    def classes(self) -> int:
        return self.pixels.shape[0]

    @property
    def images_per_class(self) -> int:
        return self.pixels.shape[1]

    @property
    def images(self) -> int:
        return self.classes * self.images_per_class

    def gather(self, flat_index: Tensor, dtype: torch.dtype) -> Tensor:
        """Images (..., d) for indices class * images_per_class + image of any shape."""
        picked = self.pixels.flatten(0, 1).index_select(0, flat_index.flatten()).reshape(*flat_index.shape, -1)
        return picked.to(dtype).div_(255) if picked.dtype == torch.uint8 else picked.to(dtype)


@dataclass(frozen=True)
class Shape:
    """ways, shots and queries (images per class) of an episode."""

    ways: int
    shots: int
    queries: int

    def check(self, pool: Pool) -> None:
        """DataError if the pool cannot supply such an episode."""
        if self.ways > pool.classes:
            raise DataError(
                f"task.ways is {self.ways}, but the {pool.name} split has {pool.classes} classes; lower task.ways."
            )
        if self.shots + self.queries > pool.images_per_class:
            raise DataError(
                f"task.shots + task.queries is {self.shots} + {self.queries}, but every class of the {pool.name} split "
                f"has {pool.images_per_class} images; lower one of them."
            )


@dataclass(frozen=True)
class Episodes:
    """A batch of episodes: x (episodes, examples, d) and labels (episodes, examples) of support and query."""

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor


def distinct(rows: int, draws: int, n: int, generator: torch.Generator) -> Tensor:
    """(rows, draws) integers: in each row an ordered sample of 0..n-1 without replacement, all equally likely.

    Draw j takes one of the n - j numbers not yet taken: a uniform number below n - j, moved up past each taken number
    in increasing order.
    """
    taken = torch.empty(rows, 0, dtype=torch.int64)
    result = []
    for j in range(draws):
        value = torch.randint(n - j, (rows,), generator=generator)
        for i in range(j):
            value += value >= taken[:, i]
        result.append(value)
        taken = torch.cat([taken, value[:, None]], 1).sort(1).values
    return torch.stack(result, 1)


def draw(pool: Pool, shape: Shape, episodes: int, generator: torch.Generator) -> Tensor:
    """Flat image indices (episodes, ways, shots + queries) into the pool."""
    per_class = shape.shots + shape.queries
    classes = distinct(episodes, shape.ways, pool.classes, generator)
    images = distinct(episodes * shape.ways, per_class, pool.images_per_class, generator)
    return classes[..., None] * pool.images_per_class + images.reshape(episodes, shape.ways, per_class)


def assemble(pool: Pool, shape: Shape, index: Tensor, dtype: torch.dtype) -> Episodes:
    """The episodes of flat image indices (episodes, ways, shots + queries) that lie where the pool does, in one
    gather; examples lie by label."""
    device, T = pool.pixels.device, len(index)
    x = pool.gather(index, dtype)
    labels = torch.arange(shape.ways, device=device)
    return Episodes(
        x[:, :, : shape.shots].flatten(1, 2),
        labels.repeat_interleave(shape.shots).expand(T, -1),
        x[:, :, shape.shots :].flatten(1, 2),
        labels.repeat_interleave(shape.queries).expand(T, -1),
    )


def vectorised(
    pool: Pool, shape: Shape, episodes: int, batch: int, generator: torch.Generator, dtype: torch.dtype, start: int = 0
) -> Iterator[Episodes]:
    """``episodes`` episodes in batches, from batch ``start`` on; skipping batches does not change the later ones."""
    index = draw(pool, shape, episodes, generator).to(pool.pixels.device)  # at once: a copy to a GPU is waited for
    for i in range(start * batch, episodes, batch):
        yield assemble(pool, shape, index[i : i + batch], dtype)

"""The same episodes drawn by learn2learn's MetaDataset and TaskDataset, one at a time: the reference for our sampler.

learn2learn is imported only when this module is used; it imports gym, whose notice that it is unmaintained is kept
off the screen.
"""

import contextlib
import io
import random
from collections.abc import Iterator

import torch

from infwidth.tasks.maml.episodes import Episodes, Pool, Shape


def _learn2learn():
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        import learn2learn
    return learn2learn


class _Images(torch.utils.data.Dataset):
    """A pool as (image, class) examples in class order."""

    def __init__(self, pool: Pool, dtype: torch.dtype):
        self.pool, self.dtype = pool, dtype

    def __len__(self) -> int:
        return self.pool.classes * self.pool.images_per_class

    def __getitem__(self, i: int):
        return self.pool.gather(
            torch.tensor(i, device=self.pool.pixels.device), self.dtype
        ), i // self.pool.images_per_class


def task_dataset(pool: Pool, shape: Shape, dtype: torch.dtype):
    """learn2learn's TaskDataset over a pool, with its usual transforms for N-way K-shot episodes."""
    l2l = _learn2learn()
    per_class = pool.images_per_class
    meta = l2l.data.MetaDataset(
        _Images(pool, dtype),
        indices_to_labels={i: i // per_class for i in range(pool.classes * per_class)},
        labels_to_indices={c: list(range(c * per_class, (c + 1) * per_class)) for c in range(pool.classes)},
    )
    transforms = [
        l2l.data.transforms.NWays(meta, shape.ways),
        l2l.data.transforms.KShots(meta, shape.shots + shape.queries),
        l2l.data.transforms.LoadData(meta),
        l2l.data.transforms.RemapLabels(meta, shuffle=True),
        l2l.data.transforms.ConsecutiveLabels(meta),
    ]
    return l2l.data.TaskDataset(meta, task_transforms=transforms, num_tasks=-1)


def learn2learn(
    pool: Pool, shape: Shape, episodes: int, batch: int, seed: int, dtype: torch.dtype, start: int = 0
) -> Iterator[Episodes]:
    """Like :func:`infwidth.tasks.maml.episodes.vectorised`. learn2learn draws from Python's global generator, which is
    seeded here and given back as it was; skipped batches have to be drawn."""
    dataset = task_dataset(pool, shape, dtype)
    before = random.getstate()
    random.seed(seed)
    try:
        for i in range(0, episodes, batch):
            drawn = [_ordered(*dataset.sample(), shape) for _ in range(min(batch, episodes - i))]
            state = random.getstate()
            random.setstate(before)
            if i >= start * batch:
                yield Episodes(*(torch.stack(part) for part in zip(*drawn, strict=True)))
            before = random.getstate()
            random.setstate(state)
    finally:
        random.setstate(before)


def _ordered(x: torch.Tensor, labels: torch.Tensor, shape: Shape):
    """One drawn task, examples ordered by label, split into support and query."""
    labels = labels.to(x.device)
    order = torch.argsort(labels, stable=True).reshape(shape.ways, -1)
    support, query = order[:, : shape.shots].flatten(), order[:, shape.shots :].flatten()
    return x[support], labels[support], x[query], labels[query]

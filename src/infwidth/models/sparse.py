"""A sparse matrix times dense ones, from either side.

Sums of a few rows each, which cost what is read, not the matrix's size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


@dataclass(frozen=True)
class Compressed:
    """A matrix by its rows: row i has ``values[start[i]:start[i + 1]]`` in columns ``column[start[i]:start[i + 1]]``.

    column, values (N,): the entries, row after row; start (rows + 1,).
    """

    column: Tensor
    values: Tensor
    start: Tensor

    @torch.no_grad()
    def __matmul__(self, x: Tensor) -> Tensor:
        """The product (rows, m) with x (columns, m)."""
        return embedding_bag(
            self.column, x, self.start, mode="sum", per_sample_weights=self.values, include_last_offset=True
        )

    def dense(self, columns: int) -> Tensor:
        """The matrix itself (rows, columns)."""
        found = self.values.new_zeros(len(self.start) - 1, columns)
        row = torch.repeat_interleave(self.start.diff())
        return found.index_put_((row, self.column), self.values, accumulate=True)


@dataclass(frozen=True)
class Sparse:
    """The same matrix by its rows and by its columns, so that it and its transpose are both read in one piece."""

    by_rows: Compressed
    by_columns: Compressed

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.by_rows @ x

    def transposed_times(self, x: Tensor) -> Tensor:
        """The product (columns, m) of the transpose with x (rows, m)."""
        return self.by_columns @ x

    def dense(self) -> Tensor:
        return self.by_rows.dense(len(self.by_columns.start) - 1)

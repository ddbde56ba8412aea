"""Networks of one initial draw in many parametrizations, whose trained weights are never formed.

A layer's weights are n^{-a} (n^{-b} omega - eta n^{-c} sum of outer products): SGD adds one outer product of a
derivative and an activation for every example of a step. The Gaussians omega serve all parametrizations of a width and
seed, and a change of an activation is a sum of its own, not the small difference of two large numbers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from infwidth.parametrization import ABC
from infwidth.theory.descent import Loss


def draw(
    width: int, inputs: int, outputs: int, depth: int, generator: torch.Generator, dtype: torch.dtype
) -> list[Tensor]:
    """omega^1..omega^{L+1}, standard Gaussian."""
    sizes = [inputs, *[width] * depth, outputs]
    return [torch.randn(sizes[l], sizes[l - 1], generator=generator, dtype=dtype) for l in range(1, depth + 2)]


class Tracked:
    """A network without biases in an abc-parametrization, and what it has become since its initialisation.

    linear: identities instead of ReLUs. moved: of each layer, for every step, the derivatives by h (B, n_l) and the
    activations below (B, n_{l-1}) whose outer products the step has added.
    """

    def __init__(self, omegas: Sequence[Tensor], width: int, abc: ABC, rate: float, linear: bool = False):
        self.omegas, self.depth, self.linear = list(omegas), abc.depth, linear
        layers = [abc.layer(l, width) for l in range(1, abc.depth + 2)]
        self.multiplier = [s.multiplier for s in layers]
        self.initial = [s.multiplier * s.init_std for s in layers]
        self.step_size = [s.multiplier**2 * rate * s.learning_rate_scale for s in layers]
        self.moved: list[list[tuple[Tensor, Tensor]]] = [[] for _ in omegas]

    def activation(self, h: Tensor) -> Tensor:
        return h if self.linear else torch.relu(h)

    def through(self, at_x: Tensor, h: Tensor) -> Tensor:
        """The derivative by h from the derivative by the activation of h."""
        return at_x if self.linear else at_x * (h > 0)

    def layer(self, l: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """(h^l of the initial weights, what the weights' movement adds) for activations x (B, n_{l-1}); l from 1."""
        first = self.initial[l - 1] * (x @ self.omegas[l - 1].mT)
        added = torch.zeros_like(first)
        for at_h, below in self.moved[l - 1]:
            added -= self.step_size[l - 1] * ((x @ below.mT) @ at_h)
        return first, added

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """h^1..h^L, x^1..x^L (B, n) and f (B, k)."""
        hs, xs = [], []
        for l in range(1, self.depth + 1):
            first, added = self.layer(l, x)
            hs.append(first + added)
            x = self.activation(hs[-1])
            xs.append(x)
        first, added = self.layer(self.depth + 1, x)
        return hs, xs, first + added

    def changes(
        self, x: Tensor, initial: tuple[list[Tensor], list[Tensor], Tensor]
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Delta h^l, Delta x^l and Delta f since ``initial``, what forward gave at the start."""
        hs, xs, _ = initial
        delta_h, delta_x, below, moved = [], [], x, None
        for l in range(1, self.depth + 2):
            first, added = self.layer(l, below if moved is None else below + moved)
            change = added if moved is None else added + self.initial[l - 1] * (moved @ self.omegas[l - 1].mT)
            if l > self.depth:
                return delta_h, delta_x, change
            delta_h.append(change)
            below = xs[l - 1]
            moved = self.activation(hs[l - 1] + change) - below
            delta_x.append(moved)
        raise AssertionError("a network has a readout")

    def step(self, x: Tensor, loss: Loss) -> Tensor:
        """One step of SGD on all of x; returns f before it."""
        hs, xs, f = self.forward(x)
        at_h = loss(f)
        activations = [x, *xs]
        new = []
        for l in range(self.depth + 1, 0, -1):
            new.append((l, at_h, activations[l - 1]))
            if l > 1:
                below = self.initial[l - 1] * (at_h @ self.omegas[l - 1])
                for other, activation in self.moved[l - 1]:
                    below = below - self.step_size[l - 1] * ((at_h @ other.mT) @ activation)
                at_h = self.through(below, hs[l - 2])
        for l, derivative, activation in new:
            self.moved[l - 1].append((derivative, activation))
        return f

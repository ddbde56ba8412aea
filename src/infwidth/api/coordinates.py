"""The coordinate check of any network: how its activations, and their change in training, scale with the width.

For every layer the typical size is the root mean square over coordinates, examples and seeds; its exponent is the slope
of the logarithm against that of the width (TP4 section 3; the check is Yang and Hu's own test of a parametrization). In
μP activations start and move by order 1, slope 0, up to the outputs, which start as n^{-1/2}.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from infwidth.api.arrays import ArrayLike, Labels, floating, labels, matrix, reference
from infwidth.api.checks import positive, whole
from infwidth.api.loop import Loss, loss_of, update_of
from infwidth.errors import ConfigError
from infwidth.models.contract import Model
from infwidth.models.linear import LinearNet
from infwidth.models.mlp import MLP
from infwidth.models.pi import PiLimit

Recorded = dict[str, Tensor]
"""What a forward pass computes, by the name of the module."""

OUTPUT = "output"


@dataclass(frozen=True)
class CoordinateCheck:
    """What was measured. ``str`` is a table of the slopes; :meth:`plot` draws the sizes.

    widths: as given; steps: after how many the change was taken; initial, change: layer name to root mean squares, one
    for every width, NaN where training has blown up.
    """

    widths: tuple[int, ...]
    steps: int
    initial: Mapping[str, list[float]]
    change: Mapping[str, list[float]]

    @property
    def layers(self) -> list[str]:
        return list(self.initial)

    @property
    def slopes(self) -> dict[str, tuple[float, float]]:
        """Layer name to the exponents of the width in its activations as they start, and in their change."""
        return {name: (self._slope(self.initial[name]), self._slope(self.change[name])) for name in self.layers}

    def _slope(self, sizes: Sequence[float]) -> float:
        logs = np.log2(np.maximum(sizes, np.finfo(float).tiny))
        return float(np.polyfit(np.log2(self.widths), logs, 1)[0]) if np.isfinite(logs).all() else float("nan")

    def __str__(self) -> str:
        longest = max(len("layer"), *map(len, self.layers))
        lines = [f"{'layer':<{longest}}  at the start  change after {self.steps} steps"]
        lines += [f"{name:<{longest}}  {start:12.2f}  {change:12.2f}" for name, (start, change) in self.slopes.items()]
        return "\n".join([f"exponents of the width, from {self.widths[0]} to {self.widths[-1]}", *lines])

    def plot(self, path: str | Path | None = None) -> Any:
        """A matplotlib figure of the sizes against the width, on logarithmic axes; written to ``path``, if given."""
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError as e:
            raise ConfigError("a plot needs matplotlib; pip install matplotlib.") from e
        figure = Figure(figsize=(9, 4), layout="constrained")
        panels = {"activations at the start": self.initial, f"their change after {self.steps} steps": self.change}
        for axes, (title, found) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for name, sizes in found.items():
                axes.loglog(self.widths, sizes, marker="o", label=name)
            axes.set(title=title, xlabel="width", ylabel="root mean square", xticks=self.widths)
            axes.set_xticks(self.widths, [str(width) for width in self.widths])
            axes.minorticks_off()
        axes.legend()
        if path is not None:
            figure.savefig(path)
        return figure


def coordinate_check(
    build: Callable[[int], nn.Module],
    x: ArrayLike,
    y: Labels,
    *,
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    steps: int = 3,
    rate: float = 0.1,
    loss: str | Loss = "cross_entropy",
    seeds: int = 3,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None = None,
) -> CoordinateCheck:
    """How the activations of every layer, and their change after ``steps`` of training, scale with the width.

    build: makes a network of a width, any torch module; its weights are to come from torch's generator, which is seeded
    for every network (of infwidth's, give seed=None). x (n, d), y: as for :func:`infwidth.fit`; every step takes all of
    them. rate: of SGD, at which infwidth's networks scale by themselves; optimizer: makes another one for a network,
    where the rate of a layer depends on the width or it is not SGD. Layers are the innermost modules, by name.

    >>> import infwidth as iw, torch
    >>> x, y = torch.eye(8), torch.arange(8) % 2
    >>> check = iw.coordinate_check(lambda n: iw.finite(8, 2, n, seed=None), x, y, widths=(64, 256, 1024), rate=0.5)
    >>> start, change = check.slopes["layer 2"]
    >>> abs(start) < 0.1 and abs(change) < 0.1  # in μP features start, and move, by order 1
    True
    """
    whole("steps", steps)
    whole("seeds", seeds)
    positive("rate", rate)
    if len(widths) < 2 or any(b <= a for a, b in zip(widths, widths[1:], strict=False)):
        raise ConfigError(f"widths is {tuple(widths)}; give at least two, from narrow to wide.")
    examples = matrix(x, "x")
    wanted = labels(y, "y", len(examples), None, examples)
    squares: dict[str, dict[str, np.ndarray]] = {"initial": {}, "change": {}}
    with torch.random.fork_rng():
        for i, width in enumerate(widths):
            for seed in range(seeds):
                torch.manual_seed(seed)
                before, after = _trained(build(width), examples, wanted, steps, rate, loss_of(loss), optimizer)
                change = {name: after[name] - before[name] for name in before}
                for kind, recorded in (("initial", before), ("change", change)):
                    for name, value in recorded.items():
                        at = squares[kind].setdefault(name, np.zeros(len(widths)))
                        at[i] += value.double().square().mean().item() / seeds
    initial, change = ({name: np.sqrt(at).tolist() for name, at in squares[kind].items()} for kind in squares)
    return CoordinateCheck(tuple(widths), steps, initial, change)


def _trained(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    steps: int,
    rate: float,
    compute: Loss,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] | None,
) -> tuple[Recorded, Recorded]:
    """What a network computes of x before and after training on it."""
    x = floating(x, reference(net))
    y = y if y.dim() == 1 else floating(y, x)
    before = _recorded(net, x)
    stepping = None if isinstance(net, Model) and optimizer is None else (optimizer or _plain(rate))(net)
    for _ in range(steps):
        if stepping is None:
            _, _, update = update_of(net, x, y, compute)
            net.apply_update(update, rate)
        else:
            stepping.zero_grad()
            compute(net(x), y).backward()
            stepping.step()
    return before, _recorded(net, x)


def _plain(rate: float) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda net: torch.optim.SGD(net.parameters(), lr=rate)


@torch.no_grad()
def _recorded(net: nn.Module, x: Tensor) -> Recorded:
    """The activations of every layer and the outputs."""
    if isinstance(net, MLP):
        _, activations = net.hidden_with_trace(x)
        return {f"layer {l}": h for l, h in enumerate(activations[1:], start=1)} | {OUTPUT: net(x)}
    if isinstance(net, (LinearNet, PiLimit)):
        return {"features": net.features(x), OUTPUT: net(x)}
    with _hooked(net) as found:
        found[OUTPUT] = net(x)
    return {name: value.detach() for name, value in found.items()}


@contextmanager
def _hooked(net: nn.Module) -> Iterator[Recorded]:
    """What the innermost modules give, while the network is called."""
    found: Recorded = {}
    innermost = [(name, module) for name, module in net.named_modules() if name and not any(module.children())]
    handles = [module.register_forward_hook(_keeping(found, name)) for name, module in innermost]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _keeping(found: Recorded, name: str) -> Callable[..., None]:
    def keep(module: nn.Module, arguments: Any, value: Any) -> None:
        if isinstance(value, Tensor) and value.is_floating_point():
            found[name] = value.clone()  # a layer after it may work in place

    return keep

"""SGD as a torch optimizer, for every kind of model: ``loss.backward(); optimizer.step()``."""

from dataclasses import dataclass
from typing import Any

import torch

from infwidth.api.checks import one_of, positive
from infwidth.errors import ConfigError, InfwidthError
from infwidth.models.contract import Model
from infwidth.models.mlp import MLP
from infwidth.models.pi import PiLimit
from infwidth.models.pi.update import added
from infwidth.models.updates import DenseUpdate, Update
from infwidth.training.clipping import clipped

BY = ("global", "parameter")


@dataclass(frozen=True)
class Rule:
    """How an update is applied: with decay, and clipped to a norm of all parameters or of each. ConfigError for numbers
    and words that are none."""

    decay: float = 0.0
    clip: float | None = None
    clip_by: str = "global"

    def __post_init__(self):
        positive("decay", self.decay, zero=True)
        if self.clip is not None:
            positive("clip", self.clip)
        one_of("clip_by", self.clip_by, BY)

    def apply(self, model: Model, update: Update, rate: float) -> None:
        if self.clip is not None:
            update, _ = clipped(update, self.clip, self.clip_by)
        model.apply_update(update, rate, self.decay)


def require_trainable(model: Any) -> None:
    """ConfigError for what is no model of infwidth, or one that is fitted in closed form."""
    if not isinstance(model, Model) or model.closed_form:
        raise ConfigError(
            f"this is a {type(model).__name__}, and what is trained here are limits and networks that infwidth makes; "
            "use torch.optim.SGD for other networks, and nothing for a fitted kernel."
        )


class SGD(torch.optim.Optimizer):
    """SGD with decay and clipping by norm: parameters <- (1 - rate decay) parameters - rate gradient.

    What it applies is an *update* of the model's own kind: projected gradients of a π-net, rows to append of a π-limit
    (PiLim section 3). Gradients are used up by a step, so that zero_grad is not needed. rate: the learning rate, which
    torch's schedulers may change (it is ``param_groups[0]["lr"]``). clip: the largest norm of the gradient, None for
    any; clip_by: of all parameters together ('global') or of each ('parameter'); a growing layer's norm is that of
    what it adds to the function.

    >>> import infwidth as iw, torch
    >>> net, x, y = iw.pi_limit(inputs=4, outputs=2, rank=8), torch.eye(4), torch.tensor([0, 1, 0, 1])
    >>> optimizer = iw.SGD(net, rate=1.0, clip=0.4, clip_by="parameter")
    >>> losses = []
    >>> for _ in range(30):
    ...     loss = torch.nn.functional.cross_entropy(net(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     losses.append(loss.item())
    >>> losses[-1] < 0.2 * losses[0]
    True

    The same without autograd, which computes every product once:

    >>> outputs, pullback = net.linearized(x)
    >>> optimizer.step(pullback(outputs.softmax(1) / 4 - torch.nn.functional.one_hot(y) / 4))
    """

    def __init__(
        self, model: Model, rate: float, *, decay: float = 0.0, clip: float | None = None, clip_by: str = "global"
    ):
        require_trainable(model)
        positive("rate", rate)
        self.model, self.rule = model, Rule(decay, clip, clip_by)
        super().__init__(model.parameters(), {"lr": rate})
        if isinstance(model, PiLimit) and model.received is None:
            model.received = []  # from here on loss.backward() leaves its updates there

    @torch.no_grad()
    def step(self, update: Update | None = None) -> None:
        """Apply an update of the model's, or, without one, the gradients that loss.backward() has left.

        Raises InfwidthError if there are none.
        """
        update = self._from_backward() if update is None else update
        if not isinstance(update, Update):
            raise ConfigError(
                f"step was given a {type(update).__name__}; give it the update that a pullback returns, or nothing."
            )
        self.rule.apply(self.model, update, self.param_groups[0]["lr"])
        self.zero_grad()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients that loss.backward() has left."""
        super().zero_grad(set_to_none)
        if isinstance(self.model, PiLimit):
            self.model.received.clear()

    def _from_backward(self) -> Update:
        if isinstance(self.model, PiLimit):
            if self.model.received:
                return added(self.model.received)
        elif any(p.grad is not None for p in self.model.parameters()):
            parameters = self.model.named_parameters()
            gradients = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in parameters}
            return self.model.update(gradients) if isinstance(self.model, MLP) else DenseUpdate(gradients)
        raise InfwidthError("there is no gradient to step along; call loss.backward() before step().")

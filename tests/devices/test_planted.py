"""What is left on the CPU is found, in whichever part of a run it is; and so is what waits for a GPU for nothing."""

import pytest
import torch

from infwidth import ridge
from infwidth.models.kernel import KernelMachine, KernelRegression
from infwidth.models.linear import LinearNet
from infwidth.models.mlp import net as mlp
from infwidth.models.pi.bounded import Bounded
from infwidth.models.pi.growing import GrowingLayer
from infwidth.running import run
from infwidth.seeding import stream
from infwidth.tasks.images.task import Images
from infwidth.training.trainer import Trainer
from tests.devices.pairings import specs
from tests.devices.pretended import Waited
from tests.devices.runs import IN_THE_SECOND_EPOCH, SECOND, stopped_after

TOGETHER = (
    RuntimeError,
    "Expected all tensors to be on the same device, but found at least two devices, cuda:1 and cpu",
)


def in_a_model_s_step(patch):
    """A derivative of ones that are made on the CPU."""
    patch.setitem(mlp.ACTIVATIONS, "relu", (torch.relu, lambda x: (x > 0) * torch.ones(x.shape)))


def in_a_growing_layer(patch):
    """Rows that are read on the CPU where they are used."""
    tiles = GrowingLayer.tiles
    patch.setattr(GrowingLayer, "tiles", lambda self: ((A.cpu(), B, m) for A, B, m in tiles(self)))


def in_a_task_s_step(patch):
    """Labels that stay on the CPU."""
    batches = Images.batches
    patch.setattr(Images, "batches", lambda self, *where: ((x, y.cpu()) for x, y in batches(self, *where)))


def in_an_evaluation(patch):
    evaluate = Images.evaluate

    def other(self, model, split):
        self.y = {name: y.cpu() for name, y in self.y.items()}
        return evaluate(self, model, split)

    patch.setattr(Images, "evaluate", other)


def in_a_conclusion(patch):
    """The labels that the kernel of the features is regressed on."""
    classify = ridge.classify
    patch.setattr(ridge, "classify", lambda K, labels, *more: classify(K, labels.cpu(), *more))


def in_a_closed_form(patch):
    fit = KernelRegression.fit
    patch.setattr(KernelRegression, "fit", lambda self, x, labels, watch: fit(self, x, labels.cpu(), watch))


def in_analogies(patch):
    """The columns of the words that are asked about."""
    patch.setattr(LinearNet, "_columns", lambda self, bags: self.U.mT.index_select(0, bags.words.cpu()))


def at_the_end_of_an_epoch(patch):
    """The features at which a projection measures its change."""
    features = Bounded._features
    patch.setattr(Bounded, "_features", lambda self, *about: [(unit.cpu(), s) for unit, s in features(*about)])


def in_a_resumption(patch):
    """The rows of a kernel machine, as they are read from the disk."""

    def load_state(self, state):
        self._x, self._a, self.rows = state["x"], state["a"], len(state["x"])

    patch.setattr(KernelMachine, "load_state", load_state)


def in_a_generator(patch):
    def batches(self, epoch, start=0):
        y = self.y["train"]
        order = torch.randperm(len(y), generator=stream(self.seed, epoch), device=y.device)
        return ((self.x["train"][i], y[i]) for i in order.split(self.config.batch))

    patch.setattr(Images, "batches", batches)


def in_an_array(patch):
    patch.setattr(Trainer, "_features", lambda self: self.model.features(self.task.probe().x).numpy())


def in_what_a_step_waits_for(patch):
    """A loss that is read at every step."""
    step = Images.step

    def other(self, model, batch):
        update, metrics = step(self, model, batch)
        return update, {**metrics, "loss": torch.full((), metrics["loss"].item(), device=self.y["train"].device)}

    patch.setattr(Images, "step", other)


PLANTED = [
    (in_a_model_s_step, "pi_net", "cifar10", TOGETHER),
    (in_a_growing_layer, "pi_limit", "cifar10", TOGETHER),
    (in_a_task_s_step, "mu_limit", "cifar10", TOGETHER),
    (in_an_evaluation, "mu_limit", "cifar10", TOGETHER),
    (in_a_conclusion, "mu_limit", "cifar10", TOGETHER),
    (in_a_closed_form, "nngp_limit", "cifar10", TOGETHER),
    (in_analogies, "mu_limit", "word2vec", TOGETHER),
    (at_the_end_of_an_epoch, "pi_limit", "cifar10", TOGETHER),
    (in_a_resumption, "nngp_limit", "maml_omniglot", TOGETHER),
    (in_a_generator, "mu_limit", "cifar10", (RuntimeError, "Expected a 'cuda' device type for generator")),
    (in_an_array, "mu_limit", "cifar10", (TypeError, "can't convert cuda:1 device type tensor to numpy")),
    (in_what_a_step_waits_for, "mu_limit", "cifar10", (Waited, "the host waits for a GPU at aten._local_scalar_dense")),
]


@pytest.mark.filterwarnings("ignore:projected onto")
@pytest.mark.parametrize("plant, model, task, found", PLANTED, ids=[plant.__name__ for plant, *_ in PLANTED])
def test_it_is_found(plant, model, task, found, gpus, monkeypatch, data_root, tmp_path):
    places = {"data__root": data_root, "paths__results": str(tmp_path), "trainer__device": str(SECOND)}
    error, said = found
    plant(monkeypatch)
    with pytest.raises(error, match=said):
        for spec in specs(model, task, **places).values():
            with stopped_after(IN_THE_SECOND_EPOCH):
                run(spec.config)
            run(spec.config)

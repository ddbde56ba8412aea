"""Classification of images: splits, subsets and batches, and what is refused."""

import pytest
import torch

from infwidth.data.prepared import Prepared
from infwidth.errors import ConfigError
from infwidth.tasks.images.task import Images, ImagesConfig

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)


def arrays(train=50, test=20):
    g = torch.Generator().manual_seed(0)
    found = {}
    for name, n in (("train", train), ("test", test)):
        found[f"{name}_x"] = torch.randint(256, (n, 12), generator=g, dtype=torch.uint8)
        found[f"{name}_y"] = torch.arange(n) % 5
    found["train_x"][:, 0] = torch.arange(train)  # every training image says which it is
    return found


def task(**more):
    keys = {
        "name": "cifar10",
        "batch": 8,
        "images": "subset",
        "subset": 30,
        "validation_images": 10,
        "mean": MEAN,
        "std": STD,
        "probe_images": 2,
    }
    data = Prepared({name: t.numpy() for name, t in arrays().items()}, {"class_names": list("abcde")})
    return Images(ImagesConfig(**{**keys, **more}), data, 0, torch.device("cpu"), torch.float64)


def identities(x):
    return ((x[:, 0] * STD[0] + MEAN[0]) * 255).round().long().tolist()


def test_subsets_are_nested_shared_and_apart_from_validation():
    large, small_, alone, everything = task(), task(subset=12), task(validation_images=0), task(images="all")
    ids = [identities(t.x["train"]) for t in (large, small_, alone, everything)]
    assert ids[0][:12] == ids[1] and ids[2] == ids[0] and set(ids[0]) < set(ids[3]) and len(set(ids[3])) == 40
    held = identities(large.x["validation"])
    assert len(set(held)) == 10 and not set(held) & set(ids[3])
    x = arrays()["train_x"][ids[0]].double().reshape(30, 3, 4) / 255
    expected = (x - torch.tensor(MEAN)[:, None].double()) / torch.tensor(STD)[:, None].double()
    torch.testing.assert_close(large.x["train"], expected.flatten(1))


def test_batches_are_every_image_once_in_another_order_each_epoch():
    one = task()
    orders = [[i for x, _ in one.batches(epoch) for i in identities(x)] for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(identities(one.x["train"])) and orders[0] != orders[1]
    assert [len(y) for _, y in one.batches(0)] == [8, 8, 8, 6] and one.steps_per_epoch == 4
    assert [identities(x) for x, _ in one.batches(1, 2)] == [identities(x) for x, _ in one.batches(1)][2:]


@pytest.mark.parametrize(
    "more, message",
    [
        (
            {"subset": 45},
            "subset \\+ task.validation_images is 45 \\+ 10, but the data has 50 training images; make it fewer",
        ),
        ({"mean": (0.1, 0.2), "std": (1.0,)}, "give one for each channel"),
        ({"mean": (0.1,) * 5, "std": (1.0,) * 5}, "give one for each channel"),
        ({"mean": (), "std": ()}, "give one for each channel"),
        ({"images": "all", "validation_images": 50}, "task.validation_images is 50, but the data has 50 training"),
    ],
)
def test_what_has_no_meaning_says_why(more, message):
    with pytest.raises(ConfigError, match=message):
        task(**more)

"""The catalog: names, keys, defaults, folders, and datasets of a user's own."""

import dataclasses
import textwrap

import pytest
from omegaconf import OmegaConf

import infwidth.data
from infwidth.config import load
from infwidth.data import catalog
from infwidth.data.catalog import obtain
from infwidth.data.dataset import Sources
from infwidth.described import known
from infwidth.errors import ConfigError, DataError
from tests.conftest import REPOSITORY
from tests.data.helpers import DIGITS, GLYPHS

CONFS = sorted(p.stem for p in (REPOSITORY / "conf/data").glob("*.yaml"))


def test_unknown_names_and_keys():
    for name in ("mnist", "prepared", "", "../glyphs", "glyphs.", "no_such_package.data", None, 5):
        with pytest.raises(ConfigError, match=f"data.name is {name!r}; choose one of: cifar10, digits, .*glyphs"):
            obtain({"name": name})
    with pytest.raises(ConfigError, match="data.size is not a known key"):
        obtain({**GLYPHS, "size": 3})


@pytest.mark.parametrize("data", [None, 5, "glyphs", ["glyphs"]])
def test_a_group_that_is_none_is_a_sentence(data):
    with pytest.raises(ConfigError, match="choose a dataset, data=NAME with one of: .*glyphs"):
        obtain(data)


@pytest.mark.parametrize(
    "places, message",
    [
        ({"root": None}, "data.root must be a text, not null"),
        ({"root": 5}, "data.root must be a text, not 5"),
        ({"root": ""}, "data.root is empty"),
        ({"root": "/dev/null"}, "cannot be written .* set data.root"),
        ({"root": "/" + 300 * "x"}, "File name too long"),
        ({"mirror": 5}, "data.mirror must be a text, not 5"),
    ],
)
def test_wrong_folders_are_a_sentence(places, message, tmp_path):
    with pytest.raises((ConfigError, DataError), match=message):
        obtain({**GLYPHS, "root": str(tmp_path), **places})


def test_nothing_is_written_outside_the_data_folder(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for data in (GLYPHS, DIGITS):
        obtain({**data, "root": str(tmp_path / "data"), "mirror": str(elsewhere)})
    assert not list(elsewhere.iterdir()) and [p.name for p in (tmp_path / "data").iterdir()] == ["prepared"]
    assert sorted(p.name[:7] for p in (tmp_path / "data/prepared").iterdir()) == ["digits-", "glyphs-"]


@pytest.mark.parametrize(
    "name, keys, folder",
    [
        ("cifar10", {}, "cifar10-77261a7e"),
        ("digits", {}, "digits-f255809a"),
        ("glyphs", {}, "glyphs-0adf38f7"),
        ("omniglot", {}, "omniglot-467f94a2"),
        ("planted_corpus", {}, "planted_corpus-d004d8cd"),
        ("text_file", {"path": "nowhere"}, "text_file-692afcb3"),
    ],
)
def test_what_was_prepared_before_stays_valid(name, keys, folder):
    """New keys must be left out of the hash at their neutral value, and defaults must not change."""
    dataset = catalog.found(name)
    config = load(dataset.config, {"name": name, **keys}, "data")
    assert catalog.prepared_folder(dataset, config, Sources()).name == folder
    if name == "text_file":
        changed = dataclasses.replace(config, clean=True)
        assert catalog.prepared_folder(dataset, changed, Sources()).name != folder


def test_digits_are_the_same_numbers_everywhere(tmp_path):
    checksum = "a03be2af03852629e329a1fe758946e010207f82ebcccd7928dee6724c168cf2"
    assert obtain({**DIGITS, "root": str(tmp_path)}).checksum == checksum
    for number in (1797, 5000):
        with pytest.raises(ConfigError, match=f"data.test_images is {number}; there are 1797 digits"):
            obtain({**DIGITS, "test_images": number, "root": str(tmp_path)})


@pytest.mark.parametrize("conf", CONFS)
def test_a_conf_file_shows_the_defaults_of_its_dataset(conf, monkeypatch):
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    shown = OmegaConf.to_container(OmegaConf.load(REPOSITORY / f"conf/data/{conf}.yaml"), resolve=True)
    classes = [Sources]
    if conf == "own":  # for a dataset that is not known yet
        assert shown.pop("name") is None
    else:
        classes.append(catalog.found(shown["name"]).config)
    defaults = {f.name: f.default for cls in classes for f in dataclasses.fields(cls)}
    assert shown == defaults


def test_every_dataset_has_a_conf_file():
    assert {*known(infwidth.data, "DATASET"), "own"} == set(CONFS)


OWN = """
from dataclasses import dataclass
import numpy as np
from infwidth.data.dataset import Dataset
from infwidth.data.kinds import IMAGES

@dataclass(frozen=True)
class Config:
    name: str
    classes: int = 2

def make(config, sources):
    x, y = np.arange(8, dtype=np.uint8).reshape(4, 2), np.array([0, 1, 0, 1], np.uint8)
    names = tuple(str(c) for c in range(config.classes))
    arrays = {"train_x": x, "train_y": y, "test_x": x, "test_y": y}
    return arrays, {"label": "mine", "source": "made up", "class_names": names}

DATASET = Dataset(config=Config, kind=IMAGES, version=1, make=make)
"""


@pytest.fixture
def own(tmp_path, monkeypatch, request):
    """Puts a module of this content on the path and returns its name."""

    def put(content):
        package = tmp_path / f"own_{request.node.name.split('[')[0]}"
        package.mkdir(exist_ok=True)
        (package / "data.py").write_text(textwrap.dedent(content))
        monkeypatch.syspath_prepend(str(tmp_path))
        return f"{package.name}.data"

    return put


def test_a_dataset_of_ones_own_is_a_module(tmp_path, own):
    data = {"name": own(OWN), "root": str(tmp_path / "data")}
    found = obtain(data)
    assert found.manifest["name"] == data["name"] and found.manifest["kind"] == "images"
    assert found.manifest["class_names"] == ["0", "1"] and found.arrays["train_x"].tolist()[3] == [6, 7]
    assert obtain(data).checksum == found.checksum
    with pytest.raises(
        DataError, match="is not data of the kind 'images' .its class_names are 1.* correct the function"
    ):
        obtain({**data, "classes": 1})
    with pytest.raises(ConfigError, match="data.colour is not a known key"):
        obtain({**data, "colour": 1})


def test_a_module_without_a_dataset_is_named(own):
    with pytest.raises(ConfigError, match="or name a module of your own that defines DATASET"):
        obtain({"name": own("DATA = 1")})

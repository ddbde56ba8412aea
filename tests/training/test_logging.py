"""W&B mirrors a run and never costs one."""

import json
import os
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
import wandb

from infwidth import train
from infwidth.errors import ConfigError
from infwidth.training import connection, logging
from infwidth.training.logging import WandbReport
from tests import wandb_files
from tests.conftest import REPOSITORY
from tests.training.helpers import SMALL, metrics_of, only_folder, small

NOBODY = "http://127.0.0.1:9"
"""An address at which nobody answers."""

KEY = "0123456789" * 4


def with_wandb(tmp_path, *overrides, mode="auto"):
    config = small(tmp_path, *overrides)
    logger = {"name": "wandb", "project": "infwidth", "entity": None, "mode": mode, "tags": ["mine"]}
    return {**config, "logger": logger}


def wandb_file(tmp_path):
    (found,) = only_folder(tmp_path).glob("wandb/offline-run-*/run-*.wandb")
    return found


@pytest.fixture
def alone(monkeypatch):
    """No W&B settings but those that a test gives."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/nonexistent")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("no_proxy", "*")
    return monkeypatch


def settings(alone, server=NOBODY, key=None):
    alone.setattr(wandb, "setup", lambda: SimpleNamespace(settings=SimpleNamespace(base_url=server, api_key=key)))


def test_a_key_without_a_network_is_a_sentence_and_the_run_goes_on_offline(tmp_path):
    """As a user has it: the command, a key in the environment, a server that does not answer."""
    arguments = [o for o in SMALL if not o.startswith("logger")]
    places = [f"paths.results={tmp_path}/results", f"data.root={tmp_path}/data"]
    environment = {k: v for k, v in os.environ.items() if k != "WANDB_MODE"}
    done = subprocess.run(
        [sys.executable, "-m", "infwidth.train", "model=finite", "logger=wandb", *arguments, *places],
        cwd=REPOSITORY,
        env={**environment, "WANDB_API_KEY": KEY, "WANDB_BASE_URL": NOBODY, "no_proxy": "*"},
        capture_output=True,
        text=True,
    )
    assert f"W&B cannot be used online ({NOBODY} does not answer: Connection refused); " in done.stderr
    assert "Traceback" not in done.stderr and "test accuracy" in done.stdout
    kept = wandb_files.history(wandb_file(tmp_path))
    assert kept == [json.loads(line) for line in (only_folder(tmp_path) / "metrics.jsonl").read_text().splitlines()]


def test_online_without_a_network_is_refused_before_training(tmp_path, alone):
    settings(alone, key=KEY)
    with pytest.raises(ConfigError, match=r"does not answer: .*\), which logger.mode=online asks for; use"):
        train.run(with_wandb(tmp_path, mode="online"))
    alone.setenv("WANDB_MODE", "online")
    with pytest.raises(ConfigError, match="which WANDB_MODE=online asks for"):
        train.run(with_wandb(tmp_path))
    assert not (tmp_path / "results").exists()


def test_what_is_asked_for_decides_the_mode(alone, capsys):
    settings(alone)
    assert connection.chosen_mode("auto") == "offline"
    assert connection.chosen_mode("offline") == "offline" and connection.chosen_mode("disabled") == "disabled"
    assert capsys.readouterr().err == ""  # without a key nobody expects to be online
    with pytest.raises(ConfigError, match="it has no key: log in with `wandb login`"):
        connection.chosen_mode("online")
    settings(alone, key=KEY)
    assert connection.chosen_mode("auto") == "offline" and "is kept offline" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings(alone, f"http://127.0.0.1:{server.getsockname()[1]}", KEY)
        assert connection.chosen_mode("auto") == connection.chosen_mode("online") == "online"
        alone.setenv("WANDB_MODE", "offline")
        assert connection.chosen_mode("auto") == "offline" and connection.chosen_mode("online") == "online"
    alone.setenv("WANDB_MODE", "banana")
    with pytest.raises(ConfigError, match="WANDB_MODE is 'banana'; choose one of: online, offline, disabled"):
        connection.chosen_mode("auto")


def test_settings_of_wandb_that_it_does_not_bear_mean_offline(alone, capsys):
    def broken():
        raise ValueError("WANDB_FOO is wrong\nand more")

    alone.setattr(wandb, "setup", broken)
    assert connection.chosen_mode("auto") == "offline"
    assert "W&B cannot be used online (WANDB_FOO is wrong); this run is kept offline" in capsys.readouterr().err


def test_a_key_is_found_wherever_wandb_login_leaves_it(tmp_path, alone):
    assert not connection.has_key("https://api.wandb.ai", None) and connection.has_key("https://api.wandb.ai", KEY)
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}")
    alone.setenv("NETRC", str(tmp_path / "netrc"))
    assert connection.has_key("https://api.wandb.ai", None) and not connection.has_key("https://other.org", None)
    (tmp_path / "netrc").write_text("torn machine")
    assert not connection.has_key("https://api.wandb.ai", None)
    alone.setenv("WANDB_API_KEY", KEY)
    assert connection.has_key("https://api.wandb.ai", None)


def test_a_server_is_given_seconds(monkeypatch):
    def silent(*_):
        time.sleep(2)
        raise TimeoutError("too late to be read")

    monkeypatch.setattr(socket, "create_connection", silent)
    assert connection.unreachable("https://api.wandb.ai", 0.1) == "nothing within 0.1 s"


def test_the_proxy_is_asked_where_there_is_one(monkeypatch):
    asked = []
    monkeypatch.setattr(
        socket, "create_connection", lambda address, _: asked.append(address) or SimpleNamespace(close=list)
    )
    for name, value in (("https_proxy", "http://proxy.example:3128"), ("no_proxy", "inside.example")):
        monkeypatch.setenv(name, value)
        monkeypatch.delenv(name.upper(), raising=False)
    connection.unreachable("https://api.wandb.ai")
    connection.unreachable("https://inside.example")
    assert asked == [("proxy.example", 3128), ("inside.example", 443)]


class Failing:
    """A W&B run that fails in one method."""

    def __init__(self, method):
        self.method, self.summary = method, {}

    def __getattr__(self, name):
        def answer(*arguments, **named):
            if name == self.method:
                raise wandb.errors.CommError("the service is gone\nand more")

        return answer


@pytest.mark.parametrize("method", ["define_metric", "log", "finish"])
def test_a_failure_in_the_middle_costs_a_sentence(tmp_path, monkeypatch, method, capsys):
    monkeypatch.setattr(wandb, "init", lambda **_: Failing(method))
    assert train.run(with_wandb(tmp_path))["status"] == "finished"
    said = "W&B has failed (the service is gone); the run goes on without it, metrics.jsonl has all of it."
    assert capsys.readouterr().err.count(said) == 1 and len(metrics_of(only_folder(tmp_path))) == 4


def test_the_summary_is_written_before_wandb_is_told(tmp_path, monkeypatch):
    seen = []

    class Watching(Failing):
        def finish(self, **_):
            seen.append((only_folder(tmp_path) / "summary.json").exists())
            raise SystemError("worse than an exception of W&B")

    monkeypatch.setattr(wandb, "init", lambda **_: Watching(None))
    assert train.run(with_wandb(tmp_path))["status"] == "finished" and seen == [True]


def test_ctrl_c_while_wandb_uploads_leaves_a_finished_run(tmp_path, monkeypatch):
    class Uploading(Failing):
        def finish(self, **_):
            raise KeyboardInterrupt

    monkeypatch.setattr(wandb, "init", lambda **_: Uploading(None))
    with pytest.raises(train.Interrupted, match="What was written is kept"):
        train.run(with_wandb(tmp_path))
    assert json.loads((only_folder(tmp_path) / "summary.json").read_text())["status"] == "finished"


def test_wandb_that_does_not_start_is_a_sentence_for_each_way_that_was_tried(tmp_path, alone, capsys):
    tried = []

    def init(**about):
        tried.append(about["mode"])
        raise wandb.errors.AuthenticationError("the key is not known")

    alone.setattr(wandb, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings(alone, f"http://127.0.0.1:{server.getsockname()[1]}", KEY)
        assert train.run(with_wandb(tmp_path / "a"))["status"] == "finished"
        said = capsys.readouterr().err
        assert (
            tried == ["online", "offline"]
            and "W&B does not start online (the key is not known); this run is kept" in said
        )
        assert "W&B does not start offline (the key is not known); the run goes on without it." in said
        with pytest.raises(ConfigError, match="does not start online .*, which was asked for; use"):
            train.run(with_wandb(tmp_path / "b", mode="online"))
        WandbReport({"mode": "auto", "project": "p", "entity": None}, tmp_path, "maml", "demo").log(pd.DataFrame(), [])


@pytest.mark.parametrize("model, width, label", [("finite", 8, "8"), ("mu_limit", logging.INFINITE, "inf")])
def test_runs_know_their_scale_their_width_and_their_parametrization(tmp_path, model, width, label):
    overrides = ["model.width=8"] if model == "finite" else []
    train.run(with_wandb(tmp_path, f"model={model}", *overrides, "trainer.epochs=1"))
    run, config = wandb_files.run(wandb_file(tmp_path)), wandb_files.config(wandb_file(tmp_path))
    assert run.run_group == "own_maml_omniglot-demo" and {"mine", "scale-demo", "maml_omniglot", model} == set(run.tags)
    assert (config["width"], config["width_label"], config["parametrization"]["name"]) == (width, label, "mup")
    assert (
        config["provenance"]["commit"]
        == json.loads((only_folder(tmp_path) / "summary.json").read_text())["provenance"]["commit"]
    )

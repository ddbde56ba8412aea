"""Plans: which runs stand in the table of an experiment is asked of what decides their numbers, not of their names."""

import pytest

from infwidth.errors import ConfigError
from infwidth.runs import plan as plans
from infwidth.runs.compose import composed
from infwidth.runs.plan import plan_of


def run(*overrides, scale="paper"):
    return composed("train", [*overrides, f"scale={scale}"])


@pytest.fixture(scope="module")
def maml():
    return plan_of("maml")


def test_a_published_row_is_planned_whatever_it_is_called(maml):
    config = run("experiment=maml/width_2", "name=something_else", "row=mine", "seed=7", "trainer.threads=1")
    assert maml.members(config) == [("paper", "width_2", {})]


@pytest.mark.parametrize("overrides", [["trainer.epochs=1"], ["trainer.learning_rate=0.02"], ["task.shots=2"]])
def test_a_row_with_other_hyperparameters_is_not_planned_whatever_it_is_called(maml, overrides):
    assert maml.members(run("experiment=maml/width_2", *overrides, "name=maml")) == []


def test_a_run_of_a_users_own_is_not_planned(maml):
    assert maml.members(run("task=maml_omniglot", "model=finite", "name=maml", "model.width=3")) == []


def test_other_data_are_planned_where_the_recipe_says_so():
    word2vec = plan_of("word2vec")
    assert word2vec.members(run("experiment=word2vec/width_64", "data=simple8", scale="cpu"))
    assert not word2vec.members(run("experiment=word2vec/width_64", "data=planted_corpus", scale="cpu"))
    assert not word2vec.members(run("experiment=word2vec/width_64", "data=simple8", "data.min_count=7", scale="cpu"))


def test_a_run_that_two_scales_plan_belongs_to_both():
    config = run("experiment=cifar10/nngp_full", scale="cpu")
    places = plan_of("cifar10").members(config)
    assert {scale for scale, _, _ in places} == {"cpu", "paper"} and {row for _, row, _ in places} == {"nngp_full"}


def test_candidates_are_the_recipes(maml):
    config = run("experiment=maml/linear_ntk", "model.sigma_u=0.5", "model.sigma_v=2", "model.sigma_b=4")
    wanted = {"model.sigma_u": 0.5, "model.sigma_v": 2, "model.sigma_b": 4}
    assert maml.members(config) == [("paper", "linear_ntk", wanted)] or {
        "cpu",
        "paper",
    } == {scale for scale, _, _ in maml.members(config)}
    assert maml.members(run("experiment=maml/linear_ntk", "model.sigma_u=0.77")) == []


def test_runs_seed_by_seed_with_unseeded_rows_once():
    runs = plan_of("cifar10").runs("demo", 2, ["nngp_full", "pi_net_128"])
    assert [(r.row, r.seed) for r in runs] == [("nngp_full", 0), ("pi_net_128", 0), ("pi_net_128", 1)]
    assert runs[2].config["seed"] == 1 and runs[2].config["name"] == "cifar10"


def recipe_of(folder, monkeypatch, change):
    """The recipe of cifar10 with a change, as an experiment of that name."""
    text = (plans.EXPERIMENTS / "cifar10" / "recipe.yaml").read_text()
    (folder / "cifar10").mkdir(exist_ok=True)
    paper = f"paper: {{{change}, candidates: false, rows: null}}\n"
    (folder / "cifar10" / "recipe.yaml").write_text(text[: text.index("paper:")] + paper)
    monkeypatch.setattr(plans, "EXPERIMENTS", folder)
    return plan_of("cifar10")


def test_a_row_may_have_more_seeds_than_the_others(tmp_path, monkeypatch):
    plan = recipe_of(tmp_path, monkeypatch, "seeds: 1, seeds_of: {pi_net_128: 3}")
    rows = ["nngp_full", "pi_net_128", "mu_net_128"]
    first = [(row, 0) for row in rows]
    assert [(r.row, r.seed) for r in plan.runs("paper", None, rows)] == [*first, ("pi_net_128", 1), ("pi_net_128", 2)]
    # seeds= of the command has the last word, for all rows but those that no seed changes
    asked = [(r.row, r.seed) for r in plan.runs("paper", 2, rows)]
    assert asked == [*first, ("pi_net_128", 1), ("mu_net_128", 1)]


@pytest.mark.parametrize(
    "seeds_of, said",
    [
        ("{pi_net_129: 3}", "paper.seeds_of for 'pi_net_129', which is no row; the rows are: nngp_full"),
        ("{pi_net_128: 0}", "paper.seeds_of pi_net_128: 0; it must be a whole number"),
        ("{pi_net_128: 1.5}", "paper.seeds_of pi_net_128: 1.5; it must be a whole number"),
        ("{pi_net_128: true}", "paper.seeds_of pi_net_128: True; it must be a whole number"),
        ("{ntk_full: 2}", "paper.seeds_of ntk_full, which is unseeded"),
        ("[pi_net_128]", "paper.seeds_of must be a group of keys"),
    ],
)
def test_seeds_of_a_row_that_are_none_are_a_sentence(tmp_path, monkeypatch, seeds_of, said):
    with pytest.raises(ConfigError, match=said):
        recipe_of(tmp_path, monkeypatch, f"seeds: 1, seeds_of: {seeds_of}")


def test_overrides_that_decide_make_another_plan_and_others_do_not(tmp_path):
    rows = ["width_2"]
    same = plan_of("maml", ["logger=none", "trainer.threads=1", "data.root=x"], None, "demo", rows)
    assert same.published and same.name == "maml"
    other = plan_of("maml", ["trainer.epochs=1"], None, "demo", rows)
    assert other.name == "maml_varied" and not other.published
    assert other.members({**run("experiment=maml/width_2", "trainer.epochs=1", scale="demo")})
    with pytest.raises(ConfigError, match="choose another name"):
        plan_of("maml", ["trainer.epochs=1"], "word2vec", "demo", rows)
    (tmp_path / other.name).mkdir()
    plans.keep(other, tmp_path / other.name)
    again = plans.kept("maml_varied", tmp_path)
    assert (again.overrides, again.experiment) == (other.overrides, "maml")
    assert plans.kept("nothing", tmp_path) is None


@pytest.mark.parametrize(
    "content, said",
    [
        (b"rows: [", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a: !!python/object:os.system {}", "cannot be read"),
        (b"- 1", "must be a group of keys"),
        (b"title: x", "is missing"),
    ],
)
def test_a_recipe_that_is_none_is_a_sentence(tmp_path, monkeypatch, content, said):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "recipe.yaml").write_bytes(content)
    monkeypatch.setattr(plans, "EXPERIMENTS", tmp_path)
    with pytest.raises(ConfigError, match=said):
        plans.read_recipe("x")


def test_unknown_rows_and_experiments():
    with pytest.raises(ConfigError, match="rows has 'width_3', which experiment maml does not have"):
        plan_of("maml").runs("demo", 1, ["width_3"])
    with pytest.raises(ConfigError, match="experiment 'mamml' is not known; choose one of: bounded_cifar10"):
        plan_of("mamml")


def test_rows_with_data_of_their_own():
    plan = plan_of("word2vec")
    fil9 = tuple(row for row in plan.recipe.rows if row.startswith("fil9_"))
    assert len(fil9) == 4 and plan.rows_on("paper", None) == plan.recipe.rows
    assert plan.rows_on("paper", "fil9") == fil9
    assert plan.rows_on("paper", "simple8") == plan.rows_on("cpu", None) == plan.recipe.rows[:-4]
    run = plan.base("fil9_width_64", "paper")
    assert run["data"]["name"] == "fil9" and run["trainer"]["epochs"] == 5
    assert plan.members(run) == [("paper", "fil9_width_64", {})]
    assert plan.members({**run, "data": {**run["data"], "name": "simple8"}}) == []

"""claims.yaml: what is wrong in it is a sentence; those of the papers are right, and say what their checks ask."""

import re

import pytest
import yaml

from infwidth.errors import ConfigError
from infwidth.reporting.claims import book
from infwidth.reporting.claims import claim as claims_files
from infwidth.runs import plan as plans
from tests.conftest import REPOSITORY
from tests.reporting.claims.helpers import CLAIM, experiment

FILES = sorted((REPOSITORY / "experiments").glob("*/claims.yaml"))
ORDERED = {"ordered": {"rows": ["width_2", "width_8"]}}


def read(folder, monkeypatch, claims, **more):
    experiment(folder, monkeypatch, claims, **more)
    return book.OfRows("maml", folder / "results").claims


@pytest.mark.parametrize(
    "claim, said",
    [
        ({**ORDERED, "wehre": 1}, r"claims\[0\].wehre is not a known key"),
        ({"ordered": {"rwos": []}}, r"claims\[0\].ordered.rwos is not a known key \(did you mean .*rows\?\)"),
        ({"orderd": {"rows": []}}, r"claims\[0\].orderd is not a known key \(did you mean .*ordered\?\)"),
        ({"ordered": {"rows": ["width_2", "width_3"]}}, r"names the row 'width_3', which there is not \(did you mean"),
        ({"above": {"row": "mu", "others": ["width_2"]}}, "names the row 'mu', which there is not"),
        ({"within": {"rows": ["width_2"], "of": "wide", "points": 1}}, "names the row 'wide', which there is not"),
        ({"within": {"rows": ["mu_limit"], "points": 1}}, "names the published number of 'mu_limit', which there is"),
        ({"within": {"rows": ["width_2"], "points": 0}}, "within.points is 0.0; it must be greater than 0"),
        ({"separated": {"panel": "the limit", "others": ["x"]}}, "names the panel 'x', which there is not"),
        ({"ordered": {"rows": ["width_2"], "metric": "loss"}}, "metric is 'loss'; choose one of: accuracy"),
        ({"converges": {"limit": "μ-limit", "exponent": -0.5, "tolerance": 0.1}}, "about measurements; maml has none"),
        ({"exponents": {"tolerance": 0.1, "quantities": ["x"]}}, "quantities.*is 'x'; choose one of: h_0"),
        ({}, "has 0 checks of the claim 'Wider is better.'; give it exactly one"),
        ({**ORDERED, "at_most": {"rows": ["width_2"], "value": 1}}, "has 2 checks"),
        ({**ORDERED, "scale": "demo"}, "scale is 'demo'; choose one of: cpu, paper"),
        ({**ORDERED, "also": "paper"}, "also"),
        ({**ORDERED, "claim": "within {points} points"}, r"with \{points\} in it, which is no key of its check"),
        ({**ORDERED, "claim": "within {} points"}, "no key of its check"),
        ({**ORDERED, "claim": "within {points points"}, "no key of its check"),
    ],
)
def test_what_is_wrong_with_a_claim_is_a_sentence(tmp_path, monkeypatch, claim, said):
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, monkeypatch, [{**CLAIM, **claim}])


@pytest.mark.parametrize(
    "more, said",
    [
        ({"alike": [["width_2", "width_9"]]}, "names the row 'width_9', which there is not"),
        ({"guesses": {"width_9": {}}}, "names the row 'width_9', which there is not"),
        ({"guesses": {"width_2": 3}}, "has the guess width_2: 3; say it by scale"),
        ({"guesses": {"width_2": {"demo": {}}}}, "has a guess of width_2 at the scale 'demo', which there is not"),
        ({"guesses": {"width_2": {"cpu": {"hours": 0, "device": "x"}}}}, "guesses.width_2.cpu.hours is 0"),
        ({"guesses": {"width_2": {"cpu": {"days": 1}}}}, "guesses.width_2.cpu.days is not a known key"),
        ({"cliams": []}, "cliams is not a known key"),
    ],
)
def test_what_is_wrong_with_the_file_is_a_sentence(tmp_path, monkeypatch, more, said):
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, monkeypatch, [{**CLAIM, **ORDERED}], **more)


@pytest.mark.parametrize("content", [b"- 1", b"claims: [", b"\xff\xfe\x00", b""])
def test_a_file_that_is_none_is_a_sentence(tmp_path, monkeypatch, content):
    experiment(tmp_path, monkeypatch)
    (tmp_path / "maml" / "claims.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match="claims.yaml"):
        claims_files.read("maml")


def test_claims_about_measurements_name_what_there_is(tmp_path, monkeypatch):
    (tmp_path / "theory").mkdir()
    recipe = (plans.EXPERIMENTS / "theory" / "recipe.yaml").read_text()
    (tmp_path / "theory" / "recipe.yaml").write_text(recipe)
    monkeypatch.setattr(plans, "EXPERIMENTS", tmp_path)
    for check, said in (
        ({"blow_up": {"parametrizations": ["muP"]}}, "names the parametrization 'muP', which there is not"),
        (ORDERED, "about rows; theory has none"),
    ):
        claims = {"claims": [{**CLAIM, **check}]}
        (tmp_path / "theory" / "claims.yaml").write_text(yaml.safe_dump(claims))
        with pytest.raises(ConfigError, match=said):
            _ = book.OfMeasurements("theory", tmp_path).claims


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_the_papers_claims_are_read_and_fit_their_lines(path):
    (found,) = [b for b in book.books(REPOSITORY / "results") if b.experiment == path.parent.name]
    assert len({claim.sentence for claim in found.claims.claims}) == len(found.claims.claims) > 3
    assert max(map(len, path.read_text().splitlines())) <= 120


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_tolerance_is_said_by_its_key_and_not_again(path):
    """A number that the check decides by stands in the sentence as {points}, so that the two cannot differ."""
    for claim in claims_files.read(path.parent.name)[0].claims:
        numbers = {v for k, v in vars(claim.check).items() if isinstance(v, float)} - {0.0, 1.0}
        said = {float(n) for n in re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", claim.claim)}
        assert not said & numbers, claim.claim

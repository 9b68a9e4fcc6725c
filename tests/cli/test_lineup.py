import sys
from pathlib import Path

import pytest

from sics_cli.experiment import lineup
from sics_cli.experiment.errors import ConfigError
from sics_cli.experiment.lineup import ScorerInfo, choose, describe_scorers, plugin_digest, scorer_class

THE_TWELVE = [
    "magnitude", "power", "log", "bump", "smooth_chaos", "smooth_mouse", "chaos", "wiggle", "fake", "information",
    "gradient", "random",
]  # fmt: skip
MINE = """
from dataclasses import dataclass
from sics_plugin import CoordinateScorer, register_scorer

@register_scorer
class Mine(CoordinateScorer):
    name, kappa, summary = "mine", 1, "ρ + α·z"

    def feature(self, z, sparsity):
        return z

class NotOne:
    pass
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    import sics_plugin

    (tmp_path / "my_scorers.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "my_scorers"
    sys.modules.pop("my_scorers", None)
    if "mine" in sics_plugin.list_scorers():
        sics_plugin.unregister_scorer("mine")


def test_the_default_is_the_twelve_of_the_design() -> None:
    infos = describe_scorers((), "gradient")
    chosen, _ = choose(infos, None, "gradient", "magnitude")
    assert [info.name for info in chosen] == THE_TWELVE
    without, notes = choose(describe_scorers((), "activation"), None, "activation", "magnitude")
    assert [info.name for info in without] == [name for name in THE_TWELVE if name != "gradient"]
    assert len(notes) == 1


def test_facts_survive_json_and_know_the_saliency() -> None:
    import json

    (info,) = [one for one in describe_scorers((), "gradient") if one.name == "chaos"]
    assert ScorerInfo(**json.loads(json.dumps(info.to_dict()))) == info
    assert (info.kappa, info.role, info.requires) == (2, "feature", None)
    (other,) = [one for one in describe_scorers((), "neighbourhood") if one.name == "chaos"]
    assert other.fingerprint != info.fingerprint, "α depends on the saliency"


def test_a_scorer_of_the_users_own(module: str) -> None:
    spec = f"{module}:Mine"
    info = describe_scorers([spec], "gradient")[-1]
    assert (info.name, info.spec, info.kappa) == ("mine", spec, 1)
    assert len(info.fingerprint["source_sha256"]) == 64
    assert lineup.make_scorer(spec, 3).name == "mine"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nosuch", "no such scorer; give some of magnitude"),
        ("nosuch_module:X", "cannot be imported"),
        ("my_scorers:Nosuch", "cannot be imported"),
        ("my_scorers:NotOne", "is not a subclass"),
    ],
)
def test_bad_specs(module: str, spec: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"--scorers {spec}: {words}"):
        scorer_class(spec)


def test_plugin_digest_sees_torch_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin_digest("2.15.0") == plugin_digest("2.15.0") != plugin_digest("2.16.0")
    package = tmp_path / "sics_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    found = importlib_spec(package)
    monkeypatch.setattr(lineup.importlib.util, "find_spec", lambda name: found)
    before = plugin_digest("2.15.0")
    (package / "__init__.py").write_text("x = 2\n")
    assert plugin_digest("2.15.0") != before


def importlib_spec(package: Path) -> object:
    import importlib.util

    return importlib.util.spec_from_file_location(
        "sics_plugin", package / "__init__.py", submodule_search_locations=[str(package)]
    )

import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.experiment import scorers
from sics_cli.experiment.scorers import ScorerInfo, choose, describe_scorers, plugin_digest, scorer_class

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
    assert ScorerInfo(**json.loads(json.dumps(asdict(info)))) == info
    assert (info.kappa, info.role, info.requires) == (2, "feature", None)
    (other,) = [one for one in describe_scorers((), "neighbourhood") if one.name == "chaos"]
    assert other.fingerprint != info.fingerprint, "α depends on the saliency"


def test_a_scorer_of_the_users_own(module: str) -> None:
    spec = f"{module}:Mine"
    info = describe_scorers([spec], "gradient")[-1]
    assert (info.name, info.spec, info.kappa) == ("mine", spec, 1)
    assert len(info.fingerprint["source_sha256"]) == 64
    assert scorers.make_scorer(spec, 3).name == "mine"


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


def test_plugin_digest_sees_torch_and_what_makes_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin_digest("2.15.0") == plugin_digest("2.15.0") != plugin_digest("2.16.0")
    package = tmp_path / "sics_plugin"
    for name in ("__init__.py", "scorers/one.py", "tables/spectra.npy", "complexity/meter.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(name)
    found = importlib_spec(package)
    monkeypatch.setattr(scorers.importlib.util, "find_spec", lambda name: found)
    before = plugin_digest("2.15.0")
    for name in ("scorers/one.py", "tables/spectra.npy"):
        (package / name).write_text("changed")
        assert plugin_digest("2.15.0") != before
        (package / name).write_text(name)
    (package / "scorers" / "one.py").rename(package / "scorers" / "renamed.py")
    (package / "complexity" / "meter.py").write_text("changed")
    assert plugin_digest("2.15.0") == before, "neither changes a mask"


def test_plugin_digest_covers_folders_that_are_there() -> None:
    import sics_plugin

    folder = Path(sics_plugin.__path__[0])
    assert all(any((folder / room).iterdir()) for room in scorers.MASK_MAKERS)


def importlib_spec(package: Path) -> object:
    import importlib.util

    return importlib.util.spec_from_file_location(
        "sics_plugin", package / "__init__.py", submodule_search_locations=[str(package)]
    )


def test_words_stand_for_several_scorers() -> None:
    infos = describe_scorers(("peers", "all"), "gradient")
    peers = [info.name for info in infos if info.role == "peer"]
    assert len(peers) == 10
    everything = [info.name for info in infos]
    for asked, expected in [
        (["sics"], THE_TWELVE),
        (["peers"], ["magnitude", *peers]),
        (["all"], everything),
        (["fisher", "sics"], [*THE_TWELVE, "fisher"]),
    ]:
        assert [info.name for info in choose(infos, asked, "gradient", "magnitude")[0]] == expected
    with pytest.raises(ConfigError, match=r"--scorers everyone: .*one of the words all, sics, peers, searched, or MODULE:CLASS"):
        choose(infos, ["everyone"], "gradient", "magnitude")


def test_peers_work_beside_any_saliency_and_say_where_they_are_not_at_home() -> None:
    infos = describe_scorers((), "neighbourhood")
    chosen, notes = choose(infos, ["peers"], "neighbourhood", "magnitude")
    assert {info.name: info.saliency("neighbourhood") for info in chosen if info.name in ("magnitude", "fisher", "wanda")} == {
        "magnitude": "neighbourhood", "fisher": "fisher", "wanda": "activation",
    }  # fmt: skip
    assert notes[1] == (
        "not in the pool of their source: ri (layer), wanda (row), ria (layer); this run's is global "
        "(--pool native: each in its own)"
    )
    assert choose(infos, ["peers"], "neighbourhood", "magnitude", pool="native")[1] == notes[:1]
    assert "wanda" not in choose(infos, ["peers"], "gradient", "magnitude", pool="row")[1][1]
    chosen, notes = choose(infos, ["peers"], "gradient", "magnitude", unit="head")
    assert not {"ri", "wanda", "ria"} & {info.name for info in chosen}
    assert "wanda is left out: it is defined for weights, not for heads" in notes
    with pytest.raises(ConfigError, match="--scorers wanda: is defined for weights, not for channels"):
        choose(infos, ["wanda"], "gradient", "magnitude", unit="channel")


def test_a_users_peer_names_a_kind_of_saliency_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sics_plugin

    body = "from sics_plugin import PeerScorer, register_scorer\n\n@register_scorer\nclass Own(PeerScorer):\n"
    body += "    name, summary, requires = 'own_peer', 'c', '{}'\n\n    def of(self, m, c):\n        return c\n"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        for number, (kind, good) in enumerate((("fisher", True), ("hessian", False))):
            (tmp_path / f"own_peer_{number}.py").write_text(body.format(kind))
            spec = f"own_peer_{number}:Own"
            if number:
                sics_plugin.unregister_scorer("own_peer")
            if good:
                (info,) = [one for one in describe_scorers([spec], "gradient") if one.spec == spec]
                assert (info.signal, info.calibrated, info.role) == ("fisher", True, "peer")
            else:
                with pytest.raises(ConfigError, match="requires = 'hessian' is no kind of saliency; there are gradient"):
                    describe_scorers([spec], "gradient")
    finally:
        if "own_peer" in sics_plugin.list_scorers():
            sics_plugin.unregister_scorer("own_peer")

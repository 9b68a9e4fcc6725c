"""A user's own scorer: found by module, file or entry point, refused in one line before training, known by its sources."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.experiment import user_scorers
from sics_cli.experiment.scorers import describe_scorers, fingerprint_of, make_scorer
from sics_cli.experiment.user_scorers import expanded, source_facts

MINE = """
{imports}
from sics_plugin import CoordinateScorer, register_scorer

@register_scorer
class Mine(CoordinateScorer):
    name, kappa, summary = "mine_of_a_test", 1, "ρ + α·z"

    def feature(self, z, sparsity):
        return {body}
"""


@pytest.fixture(autouse=True)
def folder(code_folder: Path) -> Iterator[Path]:
    import sics_plugin

    yield code_folder
    if "mine_of_a_test" in sics_plugin.list_scorers():
        sics_plugin.unregister_scorer("mine_of_a_test")


def write(path: Path, imports: str = "", body: str = "z") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MINE.format(imports=imports, body=body))


def test_a_file_with_a_helper_beside_it(folder: Path) -> None:
    write(folder / "mine" / "my-scorer.py", "from helper_of_mine import twice", "twice(z)")
    (folder / "mine" / "helper_of_mine.py").write_text("def twice(z):\n    return 2 * z\n")
    (spec,) = expanded(["./mine/my-scorer.py:Mine"])
    assert spec == f"{folder}/mine/my-scorer.py:Mine"
    info = describe_scorers([spec], "gradient")[-1]
    assert (info.name, info.kappa, info.remark) == ("mine_of_a_test", 1, "")
    assert list(info.fingerprint["helpers_sha256"]) == ["helper_of_mine.py"]
    assert make_scorer(spec, 0).name == "mine_of_a_test"


def test_an_edited_helper_is_another_key_and_another_file_is_not(folder: Path) -> None:
    package = folder / "my_package_of_a_test"
    write(package / "scorers" / "mine.py", "from ..tools import scale\nfrom my_package_of_a_test import more", "scale(z)")
    for name in ("__init__.py", "scorers/__init__.py"):
        (package / name).write_text("")
    (package / "tools.py").write_text("def scale(z):\n    from .deep import FACTOR\n    return FACTOR * z\n")
    (package / "deep.py").write_text("FACTOR = 2\n")
    (package / "more.py").write_text("import beside_of_a_test\n")
    (package / "unused.py").write_text("x = 1\n")
    (folder / "beside_of_a_test.py").write_text("y = 1\n")
    spec = "my_package_of_a_test.scorers.mine:Mine"
    before = fingerprint_of(spec, "gradient")
    assert set(before["helpers_sha256"]) == {
        "beside_of_a_test.py", "my_package_of_a_test/__init__.py", "my_package_of_a_test/deep.py",
        "my_package_of_a_test/more.py", "my_package_of_a_test/scorers/__init__.py", "my_package_of_a_test/tools.py",
    }  # fmt: skip
    (package / "unused.py").write_text("x = 2\n")
    assert fingerprint_of(spec, "gradient") == before
    (package / "deep.py").write_text("FACTOR = 3\n")
    after = fingerprint_of(spec, "gradient")
    assert after != before
    assert after["source_sha256"] == before["source_sha256"]


def test_a_scorer_without_helpers_has_the_key_it_always_had(folder: Path) -> None:
    write(folder / "alone_of_a_test.py", "import torch, numpy, sics_plugin")
    assert set(fingerprint_of("alone_of_a_test:Mine", "gradient")) == {"name", "kappa", "parameters", "tables", "source_sha256"}


def test_neighbours_of_an_installed_module_are_not_its_helpers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = folder / "site-packages"
    write(site / "installed_of_a_test.py", "import neighbour_of_a_test")
    (site / "neighbour_of_a_test.py").write_text("")
    monkeypatch.syspath_prepend(str(site))
    import installed_of_a_test  # type: ignore[import-not-found]

    assert set(source_facts(installed_of_a_test.Mine)) == {"source_sha256"}


def test_entry_points(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "offered_of_a_test.py")
    points = EntryPoints([EntryPoint("offered", "offered_of_a_test:Mine", user_scorers.ENTRY_POINTS)])
    monkeypatch.setattr(user_scorers, "entry_points", lambda group: points.select(group=group))
    assert expanded(["offered", "chaos"]) == ["offered_of_a_test:Mine", "chaos"]
    assert describe_scorers(expanded(["offered"]), "gradient")[-1].name == "mine_of_a_test"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("z[:, None]", "scores have shape"),
        ("(z - 1).log()", "its score is NaN"),
        ("__import__('torch').rand_like(z)", "draws from the global generator of torch"),
        ("z.nothing", "raises on 1024 units at S = 0.5: AttributeError"),
    ],
)
def test_a_broken_one_is_refused_in_one_line(folder: Path, body: str, words: str) -> None:
    write(folder / "broken.py", body=body)
    (spec,) = expanded(["broken.py:Mine"])
    with pytest.raises(ConfigError, match=f"^--scorers {spec}: scorer 'mine_of_a_test': {words}") as caught:
        describe_scorers([spec], "gradient")
    assert caught.value.exit_code == 2


def test_specs_that_lead_nowhere(folder: Path) -> None:
    (folder / "bare.py").write_text("from sics_plugin import Scorer\nclass Bare(Scorer):\n    pass\n")
    (folder / "wrong.py").write_text("1 +\n")
    for spec, words in (
        (f"{folder}/nosuch.py:Mine", "cannot be imported .there is no file"),
        (f"{folder}/wrong.py:Mine", "cannot be imported .invalid syntax"),
        (f"{folder}/bare.py:Nosuch", "cannot be imported .*no attribute 'Nosuch'"),
        (f"{folder}/bare.py:Bare", "decorate the class with @sics_plugin.register_scorer"),
    ):
        with pytest.raises(ConfigError, match=words):
            describe_scorers([spec], "gradient")


@pytest.mark.parametrize("name", ["fusion_orbit_4", "adaptive_mine_20", "adaptive_trials", "magnitude/global"])
def test_a_name_under_which_the_rows_of_others_are_kept_is_refused(folder: Path, name: str) -> None:
    import sics_plugin

    (folder / "clash.py").write_text(MINE.format(imports="", body="z").replace("mine_of_a_test", name))
    (spec,) = expanded(["clash.py:Mine"])
    try:
        with pytest.raises(ConfigError, match=f"^--scorers {spec}: the name '{name}' is not accepted: .* Give another$"):
            describe_scorers([spec, "fusion_orbit_4"], "gradient")
    finally:
        sics_plugin.unregister_scorer(name)


def test_replicate_refuses_before_it_trains_and_runs_a_file(cli: Any, rows_of: Any) -> None:
    write(cli.folder / "bad.py", body="z.log() * float('nan')")
    done = cli.here(*cli.tiny, "--scorers", "./bad.py:Mine")
    assert done.returncode == 2
    assert not cli.run.exists()
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sics-run: --scorers ")
    assert "bad.py:Mine: scorer 'mine_of_a_test': its score is NaN" in last
    write(cli.folder / "good.py", "from help_me import one", "one(z)")
    (cli.folder / "help_me.py").write_text("def one(z):\n    return 0 * z\n")
    command = [*cli.tiny, "--seeds", "1", "--sparsities", ".5", "--scorers", "./good.py:Mine"]
    done = cli.here(*command)
    assert done.returncode == 0, done.stderr
    assert {row["scorer"] for row in rows_of(cli.store, "cells")} == {"dense", "magnitude", "mine_of_a_test"}
    again = cli.here(*command)
    assert "0 of them computed now" in again.stdout
    (cli.folder / "help_me.py").write_text("def one(z):\n    return z\n")
    edited = cli.here(*command)
    assert "1 of them computed now" in edited.stdout, "its cell only"

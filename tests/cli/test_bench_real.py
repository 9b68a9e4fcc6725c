"""The bench of trained networks: its registry, what it measures on a network of this file, and what it makes of rows."""

from __future__ import annotations

import configparser
import importlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from sics_cli.tasks.own_task import check

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"


def part(name: str) -> ModuleType:
    """A module of the bench, as a run of bench/real.py imports it."""
    if str(BENCH) not in sys.path:
        sys.path.append(str(BENCH))
    return importlib.import_module(name)


registry, shipped, measuring, tables = (part(f"networks.{name}") for name in ("registry", "shipped", "measure", "tables"))
CALIBRATION, EVALUATION = shipped.CALIBRATION, shipped.EVALUATION


# --- the registry ---------------------------------------------------------------------------------------------------------


def test_development_has_every_kind_and_the_test_several() -> None:
    networks = registry.NETWORKS
    assert len({one.name for one in networks}) == len(networks) >= 8
    kinds = {split: {one.kind for one in networks if one.split == split} for split in ("development", "test")}
    assert kinds["development"] == {"convolutional", "recurrent", "transformer", "mobile"}
    assert len(kinds["test"]) >= 2


@pytest.mark.parametrize("network", registry.NETWORKS, ids=lambda one: one.name)
def test_an_entry_is_a_task_whose_packages_and_licence_are_named(network: Any) -> None:
    task = network.open(batches=3)
    assert isinstance(task, shipped.RealTask)
    assert task.batches == 3
    check(task, network.name)
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extra = config["options.extras_require"]["real"]
    listed = (BENCH / "networks" / "packages.txt").read_text()
    for name in network.needs:
        assert re.search(rf"(?m)^{re.escape(name)}(==|>=)", listed + extra), name
    page = (ROOT / "data" / "README.md").read_text()
    assert any(f"`{name}`" in page for name in network.needs)
    assert f"{network.name}" in (ROOT / "docs" / "real-networks.md").read_text()
    assert 0 <= network.chance < 1


def test_networks_are_chosen_by_name_split_and_kind() -> None:
    assert [one.name for one in registry.chosen(["onet", "crepe-tiny"])] == ["crepe-tiny", "onet"]
    assert {one.split for one in registry.chosen(["test"])} == {"test"}
    assert registry.chosen(["all"]) == list(registry.NETWORKS)
    with pytest.raises(SystemExit, match="--networks onett: no such network: give all, "):
        registry.chosen(["onett"])


@pytest.mark.parametrize("network", registry.NETWORKS, ids=lambda one: one.name)
def test_the_dense_network_does_what_it_is_asked(network: Any) -> None:
    if missing := network.missing():
        pytest.skip(f"{', '.join(missing)} not installed: extra `real`")
    task = network.open(batches=1)
    task.evaluated, task.batch = min(task.evaluated, 16), 2
    if hasattr(task, "candidates"):
        task.candidates = 16
    net = task.network(0)
    with torch.no_grad():
        found = task.evaluate(net, 0).float().mean()
    assert found > network.chance + 0.15 * (1 - network.chance)  # of 16 examples
    assert torch.isfinite(task.loss(net, task.calibration(0)[0]))
    names = {id(p) for p in net.parameters()}
    assert all(id(getattr(module, name)) in names for module, name in measuring.targets_of(task, net, "default"))


# --- examples that are made by formula ------------------------------------------------------------------------------------


def test_tones_have_their_pitch() -> None:
    sound = part("networks.sound")
    waves, pitch = sound.tones(shipped.generator(0), 8, 16_000, 100.0, 800.0, 0.0)
    spectrum = torch.fft.rfft(waves).abs()
    for row, hertz in zip(spectrum, pitch.tolist(), strict=True):
        # A second of sound: a bin is a hertz. The fundamental stands out among its neighbours.
        near = row[round(hertz) - 40 : round(hertz) + 41]
        assert abs(int(near.argmax()) - 40) <= 1


def test_a_voice_is_silent_where_nobody_speaks() -> None:
    sound = part("networks.sound")
    draw = shipped.generator(3)
    wave, spoken = sound.voice(draw, 4.0, sound.Speaker.drawn(draw), pauses=True)
    assert 0.3 < float(spoken.mean()) < 0.95
    assert float(wave[spoken == 0].abs().max()) == 0
    assert float(wave.square().mean().sqrt()) == pytest.approx(0.1, rel=1e-4)


def test_draws_are_their_own_and_fewer_batches_are_the_first() -> None:
    task, more = (part("networks.pitch").Crepe(batches=n) for n in (2, 3))
    first, same, other = task.calibration(0), more.calibration(0), task.calibration(1)
    assert len(same) == 3
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, same[:2], strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    evaluated = {row.numpy().tobytes() for row in task.fixed()[0]}
    assert not evaluated & {row.numpy().tobytes() for x, _ in (*first, *other) for row in x}


def test_what_is_held_out_is_of_the_draw_and_never_evaluated() -> None:
    task = part("networks.pitch").Crepe()
    task.evaluated = 8
    net = nn.Sequential(nn.Flatten(), nn.Linear(1024, 360))
    with torch.no_grad():
        first, same, other = (task.held_out(net, seed) for seed in (0, 0, 1))
    assert first["accuracy"].shape == (4,)
    assert first["loss"] == same["loss"] != other["loss"]
    held, evaluated = ({row.numpy().tobytes() for row in x} for x in (task._held[0], task.fixed()[0]))
    assert not held & evaluated


def test_faces_are_calibrated_evaluated_and_held_out_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = part("networks.pictures")
    numbered = torch.arange(200.0)[:, None, None].expand(-1, 25, 25) / 255
    monkeypatch.setattr(pictures, "faces", lambda: (numbered, (torch.arange(200) < 100).long()))
    task, draw = pictures.ONet(), shipped.generator(0)
    seen = {}
    for which, n in ((CALIBRATION, 400), (EVALUATION, 80), (shipped.HELD_OUT, 40)):
        x, y = task.examples(draw, n, which)
        numbers = (128 * x.flatten(1)[:, 0] + 127.5).round().long()
        assert torch.equal((numbers < 100).long(), y.reshape(len(numbers), -1)[:, 0])
        seen[which] = set(numbers.tolist())
    assert len(seen[EVALUATION]) == 80
    assert not seen[EVALUATION] & (seen[CALIBRATION] | seen[shipped.HELD_OUT])
    assert {number % 100 >= 60 for number in seen[EVALUATION]} == {True}


def test_reactions_are_calibrated_and_evaluated_on_other_pairs() -> None:
    symbols = part("networks.symbols")
    assert len(set(symbols.GROUPS)) == len(symbols.GROUPS)
    for template in symbols.TEMPLATES:
        # Atoms of the second group come whole out of the reaction: it is written after its bond as often as before it.
        assert template.count("{q}") == template.count("{s}") == 1


def test_descriptions_of_scipy_are_many_and_different() -> None:
    pairs = part("networks.texts").described()
    assert len(pairs) > 600
    assert len({first for first, _ in pairs}) == len(pairs)


def test_groups_are_found_by_their_other_members() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.9, 0.1]], [[0.0, 1.0], [0.95, 0.0]]])
    # The second group's members point apart: each is nearer to the first group's mean than to the other one.
    found = shipped.found_again(nn.functional.normalize(vectors, dim=2))
    assert found.tolist() == [[True, True], [False, False]]


# --- measuring ------------------------------------------------------------------------------------------------------------


class Toy(shipped.RealTask):
    """Two classes of four numbers, told by a network with a depthwise convolution that was given its weights."""

    batch, evaluated, at_a_time = 8, 64, 64
    #: What the weights are multiplied with, so that a test can change the dense network.
    turn = 1.0

    def load(self) -> nn.Module:
        torch.manual_seed(7)
        net = nn.Sequential(
            nn.Conv1d(2, 2, 3, padding=1, groups=2),
            nn.Flatten(),
            nn.Linear(8, 24),
            nn.ReLU(),
            nn.Linear(24, 24),
            nn.Linear(24, 2),
        )
        with torch.no_grad():
            net[-1].weight *= self.turn
            net[-1].bias *= self.turn
        return net

    def examples(self, draw: torch.Generator, n: int, part: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(n, 2, 4, generator=draw)
        torch.manual_seed(7)
        with torch.no_grad():
            return x, (self.turn * Toy.load(self)(x)).argmax(1)

    def targets(self, network: nn.Module) -> list[tuple[nn.Module, str]]:
        return [(network[2], "weight"), (network[4], "weight")]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The toy as the only network of the registry."""
    home = ModuleType("networks.toy")
    home.Toy = Toy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "networks.toy", home)
    entry = registry.Network("toy", "mobile", "development", "toy:Toy", ("numpy",), "a class", "dense", 0.5, "none", "this test")
    for module in (registry, tables):
        monkeypatch.setattr(module, "NETWORKS", (entry,))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the command does
    yield entry
    torch.set_num_threads(threads)


def rows_of(path: Path) -> pd.DataFrame:
    """What a file says beside how long it took, in one order."""
    frame = measuring.read(path).drop(columns="wall_seconds")
    return frame.sort_values(list(measuring.Rows.key), kind="stable").reset_index(drop=True)


SMALL = measuring.Grid(
    ("magnitude", "information", measuring.MEASURED, "fisher", "wanda", "lamp"),
    (0.5, 0.9),
    ("global", "row"),
    strengths=(None, 1.0),
)


def test_a_run_that_stopped_goes_on_and_computes_nothing_twice(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv.gz"
    measuring.measure([toy], SMALL, range(2), whole)
    evaluate, times = Toy.evaluate, iter(range(9))

    def interrupted(self: Any, network: nn.Module, seed: int) -> Tensor:
        if next(times) == 8:
            raise KeyboardInterrupt
        return evaluate(self, network, seed)

    with monkeypatch.context() as patched:
        patched.setattr(Toy, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measuring.measure([toy], SMALL, range(2), parts)
    assert 0 < len(rows_of(parts)) < len(rows_of(whole))
    measuring.measure([toy], SMALL, range(2), parts)
    pd.testing.assert_frame_equal(rows_of(whole), rows_of(parts))
    extended = measuring.Grid((*SMALL.scorers, "log"), SMALL.sparsities, SMALL.pools, strengths=SMALL.strengths)
    with monkeypatch.context() as patched:
        # The logarithm makes the masks of magnitude, which were evaluated in another run: only the dense network is evaluated.
        times = iter(range(9))
        patched.setattr(Toy, "evaluate", lambda self, *given: (next(times), evaluate(self, *given))[1])
        measuring.measure([toy], extended, range(2), parts)
    assert next(times) == 1
    rest = rows_of(parts)
    pd.testing.assert_frame_equal(rows_of(whole), rest[rest["scorer"] != "log"].reset_index(drop=True))
    monkeypatch.setattr(Toy, "load", None)  # nothing is left that would need the network
    measuring.measure([toy], extended, range(2), parts)
    pd.testing.assert_frame_equal(rest, rows_of(parts))


def test_what_rows_say(toy: Any, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    assert measuring.measure([toy], SMALL, range(2), out) == 0
    frame = rows_of(out)
    assert len(frame) == 1 + 2 * 2 * 2 * 7  # draws, sparsities, pools; `information` twice
    pruned = frame[frame["scorer"] != "dense"]
    assert (pruned["realised_sparsity"] - pruned["sparsity"]).abs().max() < 0.03
    assert set(frame["dense"]) == {1.0}
    free = pruned[pruned["scorer"].isin(["magnitude", "lamp"])].groupby(["scorer", "pool", "sparsity"])["mask_hash"].nunique()
    assert (free == 1).all()
    keys = ["seed", "pool", "sparsity"]
    measured = pruned[pruned["scorer"] == measuring.MEASURED].set_index(keys)["mask_hash"].sort_index()
    same = pruned[(pruned["scorer"] == "information") & (pruned["strength"] == 1.0)].set_index(keys)["mask_hash"].sort_index()
    assert measured.equals(same)
    for row in pruned.to_dict("records"):
        assert measuring.unpacked(row["examples"]).mean() == pytest.approx(row["accuracy"])


@pytest.mark.parametrize(("by", "labels"), [("tried", True), ("tried without labels", False)])
def test_what_is_tried_by_rows_is_what_trials_choose(toy: Any, tmp_path: Path, by: str, labels: bool) -> None:
    from sics_plugin import Trials, compute_masks

    out, scorers = tmp_path / "rows.csv", ("magnitude", measuring.MEASURED, "gradient", "fisher", "wanda", "lamp")
    measuring.measure([toy], measuring.Grid(scorers, (0.4, 0.8), ("global", "layer", "row")), range(3), out)
    task, frame = Toy(), rows_of(out)
    net = task.network(0)
    for block in tables.blocks_of(frame):
        tried = block.tried(by)
        assert tried is not None
        for seed, examples in tried[0].items():
            how = Trials(task.calibration(seed), task.criterion if labels else None, labels=labels)
            _, report = compute_masks(net, "adaptive", amount=block.sparsity, calibrate=how, params=task.targets(net))
            rows = frame[(frame["seed"] == seed) & (frame["sparsity"] == block.sparsity)]
            same = rows[rows["mask_hash"] == report.mask_hash[: measuring.HASH]]
            assert len(same)
            assert (measuring.unpacked(same["examples"].iloc[0]) == examples).all()


def test_an_accuracy_is_that_of_the_mask(toy: Any, tmp_path: Path) -> None:
    from sics_plugin import compute_masks, masked

    out = tmp_path / "rows.csv"
    measuring.measure([toy], measuring.Grid(("magnitude",), (0.8,), ("global",)), [0], out)
    task = Toy()
    net = task.network(0)
    masks, report = compute_masks(net, "magnitude", amount=0.8, params=task.targets(net))
    with masked(net, masks), torch.no_grad():
        right = task.evaluate(net, 0).float().mean()
    row = rows_of(out).set_index("scorer").loc["magnitude"]
    assert (row["mask_hash"], row["accuracy"]) == (report.mask_hash[: measuring.HASH], pytest.approx(float(right)))


def test_what_is_pooled(toy: Any, tmp_path: Path) -> None:
    task = toy.open()
    net = task.load()
    assert [type(module) for module, _ in measuring.targets_of(task, net, "depthwise")] == [nn.Conv1d, nn.Linear, nn.Linear]
    assert measuring.targets_of(task, net, "without-first") == [(net[4], "weight")]
    out = tmp_path / "rows.csv"
    measuring.measure([toy], measuring.Grid(("magnitude",), (0.5,), ("global",), measuring.TARGETS), [0], out)
    assert rows_of(out)["targets"].dropna().tolist() == ["default", "depthwise", "without-first"]


def test_layers_that_there_are_not_cost_a_line(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(measuring, "is_depthwise", lambda module: False)
    out = tmp_path / "rows.csv"
    assert measuring.measure([toy], measuring.Grid(("magnitude",), (0.5,), ("global",), measuring.TARGETS), [0], out) == 1
    assert "toy, magnitude in pool global: left out, has no depthwise layers" in capsys.readouterr().err
    assert rows_of(out)["targets"].dropna().tolist() == ["default", "without-first"]


def test_rows_of_another_dense_network_are_no_rows_of_this_one(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, grid = tmp_path / "rows.csv", measuring.Grid(("magnitude",), (0.5,), ("global",))
    measuring.measure([toy], grid, [0], out)
    before = out.read_bytes()
    monkeypatch.setattr(Toy, "turn", -1.0)
    with pytest.raises(
        SystemExit, match=r"toy: the dense network gives 0\.0000 on 64 examples, and gave 1\.0000 on 64 when its rows"
    ):
        measuring.measure([toy], grid, [0, 1], out)
    assert out.read_bytes() == before


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["real.py", *words])
    return int(part("real").main())


def test_the_command_measures_and_reports(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    out, page = tmp_path / "rows.csv", tmp_path / "page.md"
    options = ["--scorers", "magnitude,adaptive_measured,fisher", "--sparsities", ".5", "--pools", "global,row", "--draws", "3"]
    assert run(monkeypatch, "measure", "--networks", "toy", *options, "--out", str(out)) == 0
    page.write_text("before\n<!-- bench/real.py: begin -->\n<!-- bench/real.py: end -->\nafter\n")
    assert run(monkeypatch, "report", str(out), "--markdown", str(page)) == 0
    text = page.read_text()
    assert "| toy | mobile | development | a class | the dense network | 100.0 | 3 |" in text
    assert re.search(r"\| toy \| 0\.5 \| 100\.0 \| [\d.]+ \| [\d.]+ \|  \|  \| [\d.]+ fisher, (global|row) \|", text)
    assert "| network | S | magnitude, global | magnitude, row | measured, global | measured, row |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_a_missing_package_costs_a_line_that_names_the_extra(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    entry = registry.Network("gone", "mobile", "test", "toy:Toy", ("no-such-distribution",), "", "dense", 0.5, "", "")
    monkeypatch.setattr(registry, "NETWORKS", (entry,))
    assert run(monkeypatch, "measure", "--networks", "gone", "--out", str(tmp_path / "rows.csv")) == 0
    said = capsys.readouterr().err
    assert said.startswith("gone: left out, no-such-distribution not installed (extra `real`): pip install")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--scorers", "magnitud"], "--scorers magnitud: give "),
        (["--pools", "globe"], "--pools globe: give global, layer, row, layer-rank, erk"),
        (["--targets", "all"], "--targets all: give default, depthwise, without-first"),
        (["--sparsities", "1.5"], "--sparsities 1.5: give numbers above 0 and below 1"),
        (["--draws", "0"], "--draws 0: give whole numbers of 1 or more"),
        (["--batches", "10,0"], r"--batches \[10, 0\]: give whole numbers of 1 or more"),
    ],
)
def test_what_is_not_accepted_costs_a_line(words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=line):
        run(monkeypatch, "measure", *words, "--out", str(tmp_path / "rows.csv"))
    assert not (tmp_path / "rows.csv").exists()


@given(st.lists(st.sampled_from([0.0, 1.0]) | st.floats(0, 1, width=32), min_size=1, max_size=40))
def test_examples_come_back_as_they_were(values: list[float]) -> None:
    assert measuring.unpacked(measuring.packed(torch.tensor(values))).tolist() == values


# --- what rows come to ----------------------------------------------------------------------------------------------------


def results(*rows: list[float]) -> dict[int, np.ndarray[Any, Any]]:
    return {seed: np.array(row, dtype=float) for seed, row in enumerate(rows)}


def test_a_difference_is_over_draws() -> None:
    found = tables.difference(results([1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]), results(*[[1, 0, 0, 0]] * 3))
    means = [50.0, 25.0, 75.0]
    interval = stats.t.interval(0.95, 2, loc=np.mean(means), scale=stats.sem(means))
    assert (found.mean, found.draws) == (50.0, 3)
    assert (found.low, found.high) == pytest.approx(interval)


def test_a_difference_of_networks_that_read_no_data_has_no_interval() -> None:
    found = tables.difference(results(*[[1, 1, 0, 1]] * 3), results(*[[1, 0, 0, 1]] * 3))
    assert (found.mean, found.low, found.high) == (25.0, None, None)
    assert str(found) == "+25.0"
    # Two networks that never differ are known to one example.
    assert tables.difference(results([1, 0]), results([1, 0])).variance == 50.0**2
    assert tables.difference(results([1]), None) is None


def effects(*pairs: tuple[float, float]) -> list[Any]:
    return [tables.Difference(mean, None, None, 3, variance) for mean, variance in pairs]


def test_networks_that_are_known_alike_are_combined_as_a_sample() -> None:
    means = [2.0, 4.0, 9.0, -3.0]
    found = tables.combined(effects(*((mean, 1.0) for mean in means)))
    low, high = stats.t.interval(0.95, 3, loc=np.mean(means), scale=stats.sem(means))
    assert (found.mean, found.low, found.high) == pytest.approx((3.0, low, high))
    assert found.sd_between**2 == pytest.approx(np.var(means, ddof=1) - 1)
    assert (found.better, found.worse) == (3, 1)


def test_the_meta_analysis_is_that_of_paule_mandel_and_hartung_knapp() -> None:
    mean, variance = np.array([3.0, -1.0, 8.0, 2.0, 5.0]), np.array([1.0, 4.0, 0.5, 2.0, 9.0])
    found = tables.combined(effects(*zip(mean, variance, strict=True)))
    # Paule and Mandel: the variance between, at which the weighted sum of squares is its expectation.
    between, k = found.sd_between**2, len(mean)
    weight = 1 / (variance + between)
    centre = (weight * mean).sum() / weight.sum()
    squares = (weight * (mean - centre) ** 2).sum()
    assert squares == pytest.approx(k - 1, rel=1e-4)
    se = math.sqrt(max(squares / (k - 1), 1) / weight.sum())
    reach = stats.t.ppf(0.975, k - 1) * se
    assert (found.mean, found.low, found.high) == pytest.approx((centre, centre - reach, centre + reach), rel=1e-4)
    beyond = stats.t.ppf(0.975, k - 2) * math.sqrt(between + se**2)
    assert (found.next_low, found.next_high) == pytest.approx((centre - beyond, centre + beyond), rel=1e-4)


def test_networks_that_agree_better_than_chance_make_no_narrower_interval() -> None:
    found = tables.combined(effects((1.0, 4.0), (1.1, 4.0), (0.9, 4.0)))
    assert found.sd_between == pytest.approx(0, abs=1e-6)
    assert found.high - found.mean == pytest.approx(stats.t.ppf(0.975, 2) * math.sqrt(4 / 3), rel=1e-4)
    assert tables.combined(effects((1.0, 1.0))) is None


def block(arms: dict[Any, Any], chance: float = 0.0, dense: float = 1.0) -> Any:
    entry = registry.Network("toy", "mobile", "development", "toy:Toy", (), "", "dense", chance, "", "")
    return tables.Block(entry, 0.5, dense, arms)


def test_the_best_is_chosen_on_other_draws() -> None:
    lucky, steady = tables.Choice("fisher"), tables.Choice("wanda", "row")
    arms = {lucky: results([1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]), steady: results(*[[1, 0, 0, 0]] * 3)}
    found, name = block(arms).best("published")
    # Without draw 0 the lucky one has nothing; without another one it has the half.
    assert [float(found[seed].mean()) for seed in range(3)] == [0.25, 0.0, 0.0]
    assert name == "fisher, global"
    assert block(arms).best("ours") is None


def test_families() -> None:
    named = {name: tables.family_of(name) for name in ("gradient", "fisher", "chaos", "information", measuring.MEASURED)}
    assert named == {
        "gradient": "published", "fisher": "published", "chaos": "ours", "information": "ours", measuring.MEASURED: "ours",
    }  # fmt: skip
    assert {tables.family_of(name) for name in ("magnitude", "log", "random", "fake")} == {None}


def test_a_lost_signal() -> None:
    arms = {tables.Choice("magnitude"): results([1, 1, 1, 0, 0])}
    assert block(arms, chance=0.5).lost
    assert not block(arms, chance=0.1).lost


def test_files_are_read_together_where_the_dense_network_is_the_same(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids = [measuring.Grid((scorer,), (0.5,), ("global",)) for scorer in ("magnitude", "lamp")]
    frames = []
    for i, grid in enumerate(grids):
        measuring.measure([toy], grid, [0], tmp_path / f"{i}.csv")
        frames.append(measuring.read(tmp_path / f"{i}.csv"))
    (found,) = tables.blocks_of(pd.concat(frames, ignore_index=True))
    assert {choice.scorer for choice in found.arms} == {"magnitude", "lamp"}
    other = frames[1].assign(examples=measuring.packed(torch.zeros(64)))
    with pytest.raises(SystemExit, match="the files have different dense results of toy"):
        tables.blocks_of(pd.concat([frames[0], other], ignore_index=True))


def test_rows_of_an_unknown_network_are_refused(toy: Any, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    measuring.measure([toy], measuring.Grid(("magnitude",), (0.5,), ("global",)), [0], out)
    frame = measuring.read(out).assign(network="other")
    with pytest.raises(SystemExit, match="the rows are of other, which is no network of the registry: toy"):
        tables.markdown(frame)


def test_contrasts_are_over_networks(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "rows.csv"
    grid = measuring.Grid(("magnitude", "information"), (0.5,), ("global", "row"), measuring.TARGETS, (10, 2), (None, 1.0, 2.0))
    measuring.measure([toy], grid, range(2), out)
    frame = measuring.read(out)
    twin = registry.Network("twin", "mobile", "development", "toy:Toy", ("numpy",), "a class", "dense", 0.5, "none", "this test")
    monkeypatch.setattr(tables, "NETWORKS", (toy, twin))
    text = tables.markdown(pd.concat([frame, frame.assign(network="twin")], ignore_index=True))
    for line in (
        r"\| information, row \| 0\.5 \| 2 \|",
        r"\| depthwise: magnitude, global \| 0\.5 \| 2 \|",
        r"\| 2 times: information, row \| 0\.5 \| 2 \|",
        r"\| 2 batches: information, global \| 0\.5 \| 2 \|",
    ):
        assert re.search(line, text), line
    assert "NaN" not in text
    assert "nan" not in text

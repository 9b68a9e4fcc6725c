from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_cli.console import progress_bars
from sics_cli.experiment.cells import Cell
from sics_cli.experiment.cost import Cost, signals_of
from sics_cli.experiment.recipe import Environment, Recipe
from sics_cli.experiment.scorers import describe_scorers
from sics_cli.seeds.progress import State, Tracker, time_left
from sics_cli.settings.config import Experiment
from sics_cli.settings.images import CalibrationConfig
from sics_cli.store.inbox import Progress


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6), st.integers(1, 4))
def test_time_left_lies_between_its_bounds(remaining: list[float], workers: int) -> None:
    total = time_left(remaining, workers)
    assert total >= max(remaining)
    assert sum(remaining) / workers - 1e-9 <= total <= sum(remaining) + 1e-9


def cost_of(experiment: Experiment) -> Cost:
    return Cost.of(Recipe(experiment, Environment("cpu", "2.15", "1.0")))


def test_tracker_ends_at_one() -> None:
    tracker = Tracker({0: 100.0, 1: 40.0}, workers=2)
    tracker.update({(0, 1): Progress(0, "training 1/2", 50.0, 1), (1, 1): Progress(1, "pruning", 20.0, 1)}, {(0, 1), (1, 1)})
    state = tracker.state(3)
    assert state.fraction == pytest.approx(70 / 140)
    assert state.fractions == {0: 0.5, 1: 0.5}
    tracker.update({(0, 1): Progress(0, "training 1/2", 10.0, 1)}, {(0, 1), (1, 1)})
    assert tracker.state(3).fraction == pytest.approx(70 / 140), "an older word does not move it back"
    tracker.end(0, 1, 60.0)
    tracker.update({(0, 1): Progress(0, "training 2/2", 60.0, 1), (0, 2): Progress(0, "pruning", 10.0, 2)}, {(0, 2), (1, 1)})
    assert tracker.state(3).fractions[0] == pytest.approx(0.7), "a part that ended counts once"
    tracker.finish(0)
    tracker.finish(1)
    tracker.update({}, set())
    assert tracker.state(0).fraction == 1.0
    assert tracker.state(0).phases == {}


def test_seeds_of_a_stack_are_at_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them half way after ten seconds: ten more, and not twenty."""
    moments = iter([0.0, 10.0])
    monkeypatch.setattr("sics_cli.seeds.progress.time.monotonic", lambda: next(moments))
    tracker = Tracker({0: 100.0, 1: 100.0}, workers=1)
    tracker.update({}, {(0, 1), (1, 1)}, 1)
    tracker.update({(seed, 1): Progress(seed, "training 1/2", 50.0, 1) for seed in (0, 1)}, {(0, 1), (1, 1)}, 1)
    assert tracker.state(3, 1).seconds_left == pytest.approx(10.0)


def test_no_time_left_before_anything_is_known() -> None:
    tracker = Tracker({0: 100.0}, workers=1)
    tracker.update({}, {(0, 1)})
    assert tracker.state(1).seconds_left is None


def test_work_of_an_experiment(experiment: Experiment) -> None:
    work = cost_of(experiment)
    assert work.training == 3 * 700 * 2
    assert work.saliency == 3 * 3 * 64
    assert work.cell == 1.5 * 900


def test_signals_that_peers_collect_count_once_a_seed_and_the_runs_own_not_at_all(experiment: Experiment) -> None:
    infos = {info.name: info for info in describe_scorers((), "gradient")}
    cells = [Cell(f"{name}{s}", 0, infos[name], s) for name in ("magnitude", "fisher", "wanda", "lamp") for s in (0.5, 0.7)]
    work = cost_of(experiment)
    assert work.collecting(signals_of(cells)) == pytest.approx((2.0 + 0.4) * work.saliency)
    assert work.collecting(signals_of([*cells, Cell("dense", 0, None, 0.0)])) == work.collecting(signals_of(cells))
    assert cost_of(replace(experiment, saliency="activation")).collecting(signals_of(cells)) == pytest.approx(2.0 * work.saliency)
    assert work.collecting(signals_of(cells[:2])) == 0.0
    assert cost_of(experiment.with_images(calibration=CalibrationConfig(1, 1))).signals["synflow"] == work.signals["synflow"] > 0


def test_every_signal_that_a_peer_may_ask_for_has_a_cost(experiment: Experiment) -> None:
    from sics_plugin.saliency.kinds import SIGNALS

    collected = {kind for kind, signal in SIGNALS.items() if signal.collect is not None}
    signals = cost_of(replace(experiment, saliency="neighbourhood")).signals
    assert {kind for kind in collected if not signals.get(kind)} == set()
    assert "lamp" not in signals


def test_plain_lines_have_no_control_characters(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_bars, "LINE_SECONDS", 0.0)
    reporter = progress_bars.LineReporter()
    reporter._next = 0.0
    with reporter:
        reporter.show(State(0.25, 1, 75.0, {0: "training 1/4"}, {0: 0.25}))
        reporter.note("seed 0 done")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        " 0:00   25 %  1 cell to go  about 1:15 left  seed 0 training 1/4",
        " 0:00  seed 0 done",
    ]

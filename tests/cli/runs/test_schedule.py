"""Who does what next, without any process: tasks run on simulated workers."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sics_cli.experiment.cells import Cell
from sics_cli.runs.schedule import Schedule, SeedPart, SeedPlan


def plans(seeds: int, *, epochs: int = 20, trained: int = 0, sparsities: int = 4) -> dict[int, SeedPlan]:
    return {
        seed: SeedPlan(
            tuple(Cell(f"{seed}-{s}-{i}", seed, None, s / 10) for s in range(sparsities) for i in range(3)),
            training=100.0,
            preparation=1.0,
            cell=1.0,
            epochs=epochs,
            trained=trained,
        )
        for seed in range(seeds)
    }


def simulate(schedule: Schedule, workers: int) -> tuple[float, list[tuple[float, SeedPart]]]:
    """Run to the end on workers of one speed; give the time it took and each task with its start."""
    moment, running, log = 0.0, [], []
    while True:
        while len(running) < workers and (task := schedule.next()) is not None:
            heapq.heappush(running, (moment + task.work, len(log), task))
            log.append((moment, task))
        if not running:
            return moment, log
        moment, _, task = heapq.heappop(running)
        schedule.done(task)


@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 30), st.integers(0, 30))
def test_everything_is_done_once_and_in_order(seeds: int, workers: int, epochs: int, trained: int) -> None:
    trained = min(trained, epochs)
    wanted = plans(seeds, epochs=epochs, trained=trained)
    cells = {cell.key for plan in wanted.values() for cell in plan.cells}
    _, log = simulate(Schedule(wanted, workers), workers)
    done = [cell.key for _, task in log for cell in task.cells]
    assert sorted(done) == sorted(cells)
    for seed in range(seeds):
        mine = [task for _, task in log if task.seed == seed]
        steps = [task.until for task in mine if not task.cells]
        assert steps == sorted(set(steps))
        assert [bool(task.cells) for task in mine] == sorted(bool(task.cells) for task in mine), "training comes first"
        assert (steps[-1] if steps else trained) == epochs
        assert len({task.part for task in mine}) == len(mine)


@pytest.mark.parametrize(("seeds", "workers"), [(5, 2), (3, 2), (7, 4), (5, 4)])
def test_no_core_idles_for_long(seeds: int, workers: int) -> None:
    """Within a tenth of what workers that never idle would take; whole seeds take up to a third more."""
    moment, _ = simulate(Schedule(plans(seeds), workers), workers)
    work = seeds * (100 + 1 + 12)
    assert moment <= 1.1 * work / workers
    assert -(-seeds // workers) * 113 > 1.1 * work / workers, "whole seeds would not do"


def test_seeds_go_one_after_another_while_there_are_many() -> None:
    _, log = simulate(Schedule(plans(8), 2), 2)
    assert [(task.seed, task.until) for _, task in log][:2] == [(0, 20), (1, 20)]
    whole = [task.seed for _, task in log if not task.cells and task.until == 20 and task.work == 100]
    assert whole[:4] == [0, 1, 2, 3]


def test_the_cells_of_a_last_seed_are_shared_out_by_sparsity() -> None:
    schedule = Schedule(plans(1, trained=20), 2)
    one, two = schedule.next(), schedule.next()
    assert one is not None
    assert two is not None
    assert {cell.sparsity for cell in one.cells} == {0.0, 0.1}
    assert {cell.sparsity for cell in two.cells} == {0.2, 0.3}
    assert schedule.next() is None
    assert not schedule.done(one)
    assert schedule.done(two)


def test_a_seed_whose_training_fails_leaves_the_others_alone() -> None:
    schedule = Schedule(plans(2), 2)
    one, two = schedule.next(), schedule.next()
    assert one is not None
    assert two is not None
    assert schedule.done(one, failed=True)
    assert not schedule.done(two)
    rest = schedule.next()
    assert rest is not None
    assert rest.seed == two.seed
    assert rest.cells


@pytest.mark.parametrize("seeds", [1, 4, 5, 9])
def test_seeds_are_trained_in_stacks_and_go_on_by_themselves(seeds: int) -> None:
    """Each once, to the end, at most one a place; the cells are handed out as ever."""
    schedule, stacks = Schedule(plans(seeds), 2, width=4), []
    while (task := schedule.next()) is not None:
        together = (task, *schedule.beside(task))
        if task.cells:
            assert len(together) == 1
        else:
            stacks.append(tuple(one.seed for one in together))
            assert {one.until for one in together} == {20}
        for one in together:
            schedule.done(one)
    assert stacks == [tuple(range(first, min(first + 4, seeds))) for first in range(0, seeds, 4)]


def test_a_stack_takes_those_that_have_a_place_and_need_it() -> None:
    wanted = plans(9)
    wanted[2].trained = 20
    schedule = Schedule({seed: wanted[seed] for seed in (8, 1, 2, 4, 3)}, 2, width=4)
    one = schedule.next()
    assert one is not None
    assert [part.seed for part in (one, *schedule.beside(one))] == [8, 1, 3]
    two = schedule.next()
    assert two is not None
    assert two.seed == 2
    assert two.cells
    three = schedule.next()
    assert three is not None
    assert (three.seed, three.cells, schedule.beside(three)) == (4, (), ())
    assert schedule.next() is None
    schedule.done(one, failed=True)
    assert schedule.next() is None, "its cells went with it"

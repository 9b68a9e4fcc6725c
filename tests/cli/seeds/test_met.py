"""When held-out examples are taken for those of an evaluation, and that nobody's own code minds being watched."""

import copy
import hashlib
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sics_cli.seeds import met as module
from sics_cli.seeds.met import Met, is_one_set
from sics_cli.tasks.results import Evaluation, are_of_one_set, evaluation_of
from sics_cli.tasks.task import Metric

ACCURACY = Metric("accuracy")
ERROR = Metric("error", "units", higher_is_better=False)
Calls = list[tuple[Any, ...]]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fed(*calls: tuple[Any, ...]) -> Met:
    met = Met()
    for arguments in calls:
        met.add(arguments)
    return met


def bits(n: int, seed: int = 0, **more: Any) -> Evaluation:
    right = np.random.default_rng(seed).random(n) < 0.8
    return evaluation_of({"accuracy": right, **more}, ACCURACY)


def errors(values: Tensor) -> Evaluation:
    return evaluation_of(values.abs(), ERROR)


# -- others, that are alike in part ----------------------------------------------------------------------------------------


def test_a_graph_whose_nodes_are_parted_is_flagged_and_not_refused() -> None:
    """Even where as many nodes are right, or all."""
    graph = fed((drawn(300, 16), drawn(300, 300, seed=1)))
    again = fed((drawn(300, 16), drawn(300, 300, seed=1)))
    assert graph.met_again(again).both == 300
    turned = evaluation_of(np.arange(100) % 4 > 0, ACCURACY), evaluation_of(np.arange(100) % 4 < 3, ACCURACY)
    assert not is_one_set(graph, again, *turned)
    perfect = evaluation_of(np.ones(100), ACCURACY)
    assert not is_one_set(graph, again, perfect, perfect)
    assert not is_one_set(graph, again, evaluation_of(0.88, ACCURACY), evaluation_of(0.88, ACCURACY))


@pytest.mark.parametrize("grid_first", [False, True])
def test_a_grid_that_all_examples_share_makes_none_of_them_anothers(grid_first: bool) -> None:
    grid = drawn(500, 2, seed=9)

    def asked(u: Tensor) -> Met:
        return fed((grid, u) if grid_first else (u, grid))

    one, two, same = asked(drawn(20, 8)), asked(drawn(20, 8, seed=1)), asked(drawn(20, 8))
    found = errors(drawn(20))
    assert one.met_again(two).both == 0
    assert not is_one_set(one, two, found, found)
    assert one.met_again(same).both == 20
    assert is_one_set(one, same, found, found)
    some = asked(torch.cat([drawn(20, 8)[15:], drawn(15, 8, seed=1)]))
    assert one.met_again(some).both == 5
    assert not is_one_set(one, some, found, errors(drawn(20, seed=1)))


def test_answers_that_many_people_give_are_flagged_unless_the_results_are_the_same() -> None:
    g = torch.Generator().manual_seed(0)
    one, two = (fed((torch.randint(0, 2, (400, 5), generator=g).float(),)) for _ in range(2))
    assert one.met_again(two).both == 30  # of 32, of which two are blank
    assert not is_one_set(one, two, bits(400), bits(400, seed=1))
    perfect = evaluation_of(np.ones(400), ACCURACY)
    assert not is_one_set(one, two, perfect, perfect)
    assert is_one_set(one, one, bits(400), bits(400))


def test_a_network_that_gives_one_class_on_sorted_examples_is_judged_by_inputs_and_by_the_loss() -> None:
    right = np.arange(400) < 200
    found, evaluated = (evaluation_of({"accuracy": right, "loss": loss}, ACCURACY) for loss in (8.970, 8.977))
    assert not are_of_one_set(found, evaluated)
    assert are_of_one_set(found, found)
    assert not is_one_set(Met(), Met(), found, evaluated)
    plain = evaluation_of(right, ACCURACY)
    assert not is_one_set(fed((drawn(400, 5),)), fed((drawn(400, 5, seed=1),)), plain, plain)
    assert is_one_set(Met(), Met(), plain, plain)


def test_places_of_tokens_are_none_of_their_example() -> None:
    place = torch.arange(256).expand(20, 256)

    def text(seed: int) -> Tensor:
        return torch.randint(0, 65, (20, 256), generator=torch.Generator().manual_seed(seed))

    one = fed((text(0), place))
    assert one.met_again(fed((text(1), place))).both == 0
    assert one.met_again(fed((torch.cat([text(0)[:7], text(1)[7:]]), place))).both == 7
    batches = fed((text(0)[:4], place[:4], text(5)[:4]), (text(2), place, text(3)))
    assert one.handed_over_in(batches).both == 4
    assert fed((text(1), place)).handed_over_in(batches).both == 0


def test_inputs_alone_refuse_nothing_where_results_differ() -> None:
    """Other labels of the same images, say."""
    one = fed((drawn(128, 8),))
    assert not is_one_set(one, one, evaluation_of(np.arange(128) < 90, ACCURACY), evaluation_of(np.arange(128) < 91, ACCURACY))
    assert not is_one_set(one, one, bits(128, loss=0.5), bits(128, loss=0.6))


# -- one set ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found",
    [
        bits(128),
        bits(128, loss=0.5),
        evaluation_of(np.ones(128), ACCURACY),
        evaluation_of({"accuracy": 0.75, "loss": 0.5}, ACCURACY),
        evaluation_of(0.7312345678, ERROR),
        errors(drawn(128)),
    ],
    ids=["bits", "with loss", "all right", "one number with loss", "one number", "errors"],
)
def test_the_examples_of_the_evaluation_are_refused(found: Evaluation) -> None:
    x = drawn(128, 8)
    assert is_one_set(fed((x[:100],), (x[100:],)), fed((x,)), found, found)


def test_they_are_in_another_order_too_and_where_a_part_of_them_is_held_out() -> None:
    x, order = drawn(128, 8), torch.randperm(128, generator=torch.Generator().manual_seed(0))
    right, values = np.arange(128) < 100, drawn(128).abs()
    for numbers, metric in ((torch.tensor(right), ACCURACY), (values, ERROR)):
        found = evaluation_of(numbers, metric)
        assert is_one_set(fed((x[order],)), fed((x,)), evaluation_of(numbers[order], metric), found)
        assert is_one_set(fed((x[order[:64]],)), fed((x,)), evaluation_of(numbers[order[:64]], metric), found)
    rounded = errors(values[order[:64]] * (1 + 1e-7))
    assert is_one_set(fed((x[order[:64]],)), fed((x,)), rounded, errors(values))
    assert not is_one_set(fed((x[order[:64]],)), fed((x,)), errors(1 + 2 * values[order[:64]]), errors(values))
    few = errors(values[:5])
    assert not is_one_set(fed((x[:5],)), fed((x,)), evaluation_of([True] * 5, ACCURACY), evaluation_of(right, ACCURACY))
    assert is_one_set(fed((x[:5],)), fed((x[:5],)), few, few) is are_of_one_set(few, few) is False


def test_sets_that_were_not_looked_at_in_whole_are_judged_by_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXAMPLES", 50)
    x = drawn(128, 8)
    one, two = fed((x,)), fed((x.flip(0),))
    assert not one.whole
    assert len(one.sets[0]) == 50
    assert is_one_set(one, two, bits(128), bits(128))
    assert not is_one_set(one, two, bits(128), bits(128, seed=1))


# -- digests ---------------------------------------------------------------------------------------------------------------


def test_a_digest_of_single_tensors_is_of_their_rows_bytes() -> None:
    """What runs keep of their held-out examples stays comparable."""
    x = torch.cat([drawn(6, 2, 3), torch.ones(1, 2, 3)])
    rows = sorted(hashlib.blake2b(row.numpy().tobytes(), digest_size=8).digest() for row in x[:6])
    assert fed((x,)).digest == fed((x[3:],), (x[:4],)).digest == hashlib.blake2b(b"".join(rows), digest_size=16).hexdigest()
    assert Met().digest is None


def test_pairs_of_single_numbers_are_examples_and_one_number_is_none() -> None:
    user, item = torch.arange(6), torch.arange(6).flip(0)
    assert fed((user, item)).met_again(fed((user, item.roll(1)))).both == 0
    assert fed((user, item)).met_again(fed((user[:2], item[:2]))).both == 2
    assert fed((user,)).digest is fed((torch.zeros(3, 4), user[:3])).digest is None


@pytest.mark.parametrize(
    "dtype", [torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.uint16, torch.bfloat16, torch.bool], ids=str
)
def test_rows_of_every_type_are_read(dtype: torch.dtype) -> None:
    x = (drawn(8, 12).abs() * 2).to(torch.int64).to(dtype)
    met = fed((x,))
    assert met.whole
    assert len(met.sets[0]) == len(met.rows) == 8


# -- the code of a user ----------------------------------------------------------------------------------------------------


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).eval()


@pytest.mark.parametrize(
    "work",
    [
        lambda net, x: torch.func.vmap(lambda one: net(one))(x[:, None]),
        lambda net, x: torch.func.vmap(torch.func.jacrev(lambda one: net(one[None])[0]))(x),
        lambda net, x: pickle.loads(pickle.dumps(net))(x),
    ],
    ids=["vmap", "jacrev", "pickle"],
)
def test_a_watched_network_does_what_it_does(work: Callable[[nn.Module, Tensor], Tensor]) -> None:
    network, x, met = net(), drawn(8, 3), Met()
    with torch.no_grad():
        plain = work(network, x)
        with met.watching(network):
            watched = work(network, x)
    assert torch.equal(plain, watched)
    assert not any(met.sets)


def test_a_copy_is_watched_until_the_block_ends() -> None:
    network, met = net(), Met()
    with met.watching(network):
        copied = copy.deepcopy(network)
        copied(drawn(8, 3))
    assert len(met.sets[0]) == 8
    copied(drawn(8, 3, seed=1))
    network(drawn(8, 3, seed=1))
    assert len(met.sets[0]) == 8

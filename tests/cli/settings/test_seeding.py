import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sics_cli.settings import seeding
from sics_cli.settings.seeding import Stream


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(1, 6), st.integers(1, 30))
def test_calibration_batches_are_successive_permutations(seed: int, size: int, batches: int, batch_size: int) -> None:
    made = seeding.calibration_batches(seed, size, batches, batch_size)
    assert [len(batch) for batch in made] == [batch_size] * batches
    flat = np.concatenate(made)
    for start in range(0, len(flat) - size + 1, size):
        assert sorted(flat[start : start + size]) == list(range(size))
    rest = flat[len(flat) - len(flat) % size :]
    assert len(set(rest)) == len(rest)


def test_each_purpose_and_seed_has_its_own_stream() -> None:
    first = {(s, k): seeding.generator(s, k).integers(2**63) for s in range(3) for k in Stream}
    assert len(set(first.values())) == len(first)
    torch_seeds = {seeding.torch_seed(s, k) for s in range(3) for k in Stream}
    assert len(torch_seeds) == 3 * len(Stream)
    assert all(0 <= seed < 2**63 for seed in torch_seeds)


def test_data_order_is_a_permutation_per_epoch_and_repeats_itself() -> None:
    one = list(seeding.data_order(3, 20, 2))
    assert [sorted(order) for order in one] == [list(range(20))] * 2
    assert not np.array_equal(one[0], one[1])
    assert seeding.indices_hash(one) == seeding.indices_hash(seeding.data_order(3, 20, 2))
    assert seeding.indices_hash(one) != seeding.indices_hash(seeding.data_order(4, 20, 2))


def test_the_hash_sees_where_arrays_end() -> None:
    a, b = np.arange(3), np.arange(3, 5)
    assert seeding.indices_hash([a, b]) != seeding.indices_hash([np.arange(5)])


def test_numpy_still_draws_what_stored_numbers_were_made_with() -> None:
    # Pinned: should a numpy release change a stream, splits and orders change with it and runs must not be mixed.
    assert seeding.split_permutation(1797, 0)[:5].tolist() == PINNED_SPLIT
    assert seeding.calibration_batches(0, 1000, 1, 5)[0].tolist() == PINNED_CALIBRATION


PINNED_SPLIT = [360, 1773, 1482, 600, 850]
PINNED_CALIBRATION = [705, 448, 318, 733, 19]

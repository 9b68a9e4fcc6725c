import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sics_cli.console import tables
from sics_cli.results.summary import Spread, dense_spread, paired_seeds, summarise
from sics_cli.store.rows import CellRow, RepeatRow

MakeCell = Callable[..., CellRow]
BITS = {correct: bytes([(0xFF << (8 - correct)) & 0xFF]) for correct in range(9)}


def rows(cell_row: MakeCell, counts: dict[str, list[int]], masks: dict[str, list[str]] | None = None) -> list[CellRow]:
    made = []
    for scorer, values in counts.items():
        for seed, correct in enumerate(values):
            mask = masks[scorer][seed] if masks else f"{scorer}{seed}"
            made.append(cell_row(cell_key=f"{scorer}{seed}", seed=seed, scorer=scorer, correct=correct,
                                 bits=BITS[correct], mask_hash=mask))  # fmt: skip
    return made


def test_numbers_by_hand(cell_row: MakeCell) -> None:
    masks = {"magnitude": ["a", "b", "b"], "power": ["a", "b", "b"], "chaos": ["a", "c", "d"]}
    made = rows(cell_row, {"magnitude": [4, 6, 5], "power": [4, 6, 5], "chaos": [4, 8, 6]}, masks)
    (block,) = summarise(made, [], "magnitude")
    magnitude, power, chaos = block.lines
    assert magnitude.accuracy == Spread(3, 62.5, 12.5)
    assert magnitude.difference is None
    assert (magnitude.distinct_masks, power.shared_masks, chaos.distinct_masks, chaos.shared_masks) == (2, 3, 3, 1)
    assert power.difference == Spread(3, 0.0, 0.0)
    assert chaos.difference == Spread(3, 12.5, 12.5)
    assert block.masks_per_seed == (1, 2, 2)
    assert block.noise is None


def test_differences_only_at_seeds_both_have(cell_row: MakeCell) -> None:
    made = rows(cell_row, {"magnitude": [4, 6], "chaos": [8, 8, 1]})
    chaos = summarise(made, [], "magnitude")[0].lines[1]
    assert chaos.accuracy.n == 3
    assert chaos.difference == Spread(2, 37.5, pytest.approx(17.677669))
    alone = summarise([row for row in made if row.scorer == "chaos"], [], "magnitude")[0].lines[0]
    assert alone.difference is None


def test_noise_floor_counts_examples_as_well_as_accuracy(cell_row: MakeCell, repeat_row: Callable[..., RepeatRow]) -> None:
    made = rows(cell_row, {"magnitude": [4, 4]})
    same = repeat_row(correct=4, bits=BITS[4])
    swapped = repeat_row(seed=1, correct=4, bits=bytes([0b00001111]))
    assert summarise(made, [same], "magnitude")[0].noise == summarise(made, [same], "magnitude")[0].noise
    noise = summarise(made, [same, swapped], "magnitude")[0].noise
    assert noise is not None
    assert (noise.n, noise.points, noise.examples) == (2, 0.0, 8)
    moved = summarise(made, [same, repeat_row(seed=1, correct=6)], "magnitude")[0].noise
    assert moved is not None
    assert (moved.points, moved.examples) == (25.0, 2)


def test_blocks_by_sparsity_and_dense_apart(cell_row: MakeCell) -> None:
    dense = cell_row(scorer="dense", sparsity=0.0, mask_hash=None)
    made = [dense, cell_row(sparsity=0.8), cell_row(sparsity=0.5)]
    assert [block.sparsity for block in summarise(made, [], "magnitude")] == [0.5, 0.8]
    assert dense_spread(made) == Spread(1, 75.0, None)
    assert dense_spread([cell_row()]) is None


def test_pairing_is_proved_by_hashes(cell_row: MakeCell) -> None:
    one, two = cell_row(), cell_row(seed=1)
    other = cell_row(seed=1, scorer="power", calibration_hash="another")
    assert paired_seeds([one, two]) == ([0, 1], [])
    assert paired_seeds([one, two, other]) == ([0], [1])


def test_rows_of_two_networks_are_no_pair_whatever_their_saliencies(cell_row: MakeCell) -> None:
    """Signals of two kinds have two hashes at a seed; two networks, data orders or calibrations do not become a pair by that."""
    base = cell_row(scorer="magnitude", correct=4)
    peer = {"scorer": "fisher", "role": "peer", "kappa": None, "saliency": "fisher", "saliency_hash": "f", "correct": 6}
    assert paired_seeds([base, cell_row(**peer)]) == ([0], [])
    for what in ("checkpoint_hash", "data_order_hash", "calibration_hash"):
        made = [base, cell_row(**peer, **{what: "another"})]
        assert paired_seeds(made) == ([], [0]), what
        assert summarise(made, [], "magnitude")[0].lines[1].difference is None, what
    assert paired_seeds([base, cell_row(scorer="chaos", saliency_hash="another")]) == ([], [0])


@given(st.lists(st.integers(0, 8), min_size=2, max_size=8), st.integers(0, 8))
def test_a_scorer_against_itself_differs_by_nothing(cell_row: MakeCell, counts: list[int], first: int) -> None:
    made = rows(cell_row, {"magnitude": counts, "copy": counts})
    line = summarise(made, [], "magnitude")[0].lines[1]
    assert line.difference == Spread(len(counts), 0.0, 0.0)


def printed(cell_row: MakeCell, **changes: object) -> str:
    out = io.StringIO()
    made = rows(cell_row, {"magnitude": [4, 6], "smooth_chaos": [8, 8]})
    made += [cell_row(scorer="gradient", kappa=None, role="baseline", seed=s, **changes) for s in (0, 1)]
    tables.print_blocks(Console(file=out, width=80), summarise(made, [], "magnitude"), Spread(2, 95.0, 0.5), "magnitude")
    return out.getvalue()


def test_table_fits_and_names_what_it_shows(cell_row: MakeCell) -> None:
    text = printed(cell_row, flags=["coordinate unresolved"])
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    heading = next(line for line in lines if line.startswith("scorer"))
    assert heading.split() == ["scorer", "κ", "mean", "%", "sd", "difference", "sd", "masks", "n"]
    assert any(line.split() == ["smooth_chaos", "2", "100.00", "0.00", "+37.50", "17.68", "2", "2"] for line in lines)
    assert "gradient †" in text
    assert "† coordinate unresolved" in text
    assert "\x1b" not in text


def test_single_seed_has_no_sd(cell_row: MakeCell) -> None:
    (block,) = summarise(rows(cell_row, {"magnitude": [4], "chaos": [5]}), [], "magnitude")
    assert block.lines[1].difference == Spread(1, 12.5, None)

import io
from collections.abc import Callable

from rich.console import Console

from sics_cli.console.verdict_tables import print_results
from sics_cli.results.source import comparable
from sics_cli.results.summary import NoiseFloor, noise_floors, paired_seeds
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


def test_noise_floor_counts_examples_as_well_as_accuracy(cell_row: MakeCell, repeat_row: Callable[..., RepeatRow]) -> None:
    made = rows(cell_row, {"magnitude": [4, 4]})
    same = repeat_row(correct=4, bits=BITS[4])
    swapped = repeat_row(seed=1, correct=4, bits=bytes([0b00001111]))
    assert noise_floors(made, [same]) == {0.5: NoiseFloor(1, 0.0, 0)}
    assert noise_floors(made, [same, swapped]) == {0.5: NoiseFloor(2, 0.0, 8)}
    assert noise_floors(made, [same, repeat_row(seed=1, correct=6)]) == {0.5: NoiseFloor(2, 25.0, 2)}
    assert noise_floors(made, [repeat_row(sparsity=0.7)]) == {}, "a repeat of nothing that is here"


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
        assert comparable(made)[0] == [], what
    assert paired_seeds([base, cell_row(scorer="chaos", saliency_hash="another")]) == ([], [0])


def printed(made: list[CellRow], repeats: list[RepeatRow] | None = None, failed: int = 0) -> list[str]:
    """The closing tables where there are no verdicts."""
    out = io.StringIO()
    print_results(Console(file=out, width=80), made, noise_floors(made, repeats or []), "too little", failed)
    assert "\x1b" not in out.getvalue()
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_numbers_by_hand(cell_row: MakeCell, repeat_row: Callable[..., RepeatRow]) -> None:
    masks = {"magnitude": ["a", "b", "b"], "power": ["a", "b", "b"], "chaos": ["a", "c", "d"]}
    made = rows(cell_row, {"magnitude": [4, 6, 5], "power": [4, 6, 5], "chaos": [4, 8, 6]}, masks)
    lines = printed(made, [repeat_row(correct=4, bits=BITS[4]), repeat_row(seed=1, correct=6, bits=bytes([0b00111111]))])
    heading = "S = 0.5 3 scorers, 1 to 2 distinct masks per seed; noise floor 0.00 points, up to 4 examples changed"
    assert heading in " ".join(lines)
    assert "magnitude 2 62.50 12.50 2 3" in lines
    assert "power 2 62.50 12.50 2 3" in lines
    assert "chaos 2 75.00 25.00 3 3" in lines
    assert lines[-1] == "verdicts none: too little"


def test_tables_by_sparsity_and_dense_apart(cell_row: MakeCell) -> None:
    dense = [
        cell_row(scorer="dense", sparsity=0.0, mask_hash=None, seed=seed, correct=correct) for seed, correct in ((0, 6), (1, 7))
    ]
    lines = printed([*dense, cell_row(sparsity=0.8), cell_row(sparsity=0.5)], failed=2)
    assert lines[0] == "dense networks: 81.25 % ± 8.84 (sd) over 2 seeds"
    assert [line for line in lines if line.startswith("S = ")] == [
        f"S = {sparsity} 1 scorer, 1 distinct mask per seed; noise floor not measured" for sparsity in ("0.5", "0.8")
    ]
    assert "2 cells failed and are missing here" in lines
    assert printed(dense[:1])[0] == "dense networks: 75.00 % ± – (sd) over 1 seed", "one seed has no sd"
    assert not any(line.startswith("dense") for line in printed([cell_row()]))


def test_table_fits_and_names_what_it_shows(cell_row: MakeCell) -> None:
    made = rows(cell_row, {"magnitude": [4, 6], "smooth_chaos": [8, 8]})
    made += [cell_row(scorer="gradient", kappa=None, role="baseline", seed=s, flags=["coordinate unresolved"]) for s in (0, 1)]
    lines = printed(made)
    assert max(map(len, lines)) <= 80
    assert "scorer κ mean % sd masks n" in lines
    assert "smooth_chaos 2 100.00 0.00 2 2" in lines
    assert "gradient † baseline 75.00 0.00 1 2" in lines
    assert "† coordinate unresolved" in lines

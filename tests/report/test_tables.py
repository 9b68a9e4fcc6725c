"""The one description of each table: what every format is laid out from."""

from dataclasses import replace

import pandas as pd

from sics_analysis.report import ReportDocument, render, report_table
from sics_analysis.report.tables import by_scorer, joint
from sics_analysis.report.tables.table import sparsity


def frame(sparsities: tuple[float, ...], seeds: int = 4, role: str = "baseline") -> pd.DataFrame:
    """A scorer of κ = 1 and one of a role, beside magnitude."""
    rows = []
    for S in sparsities:
        for seed in range(seeds):
            for k, scorer in enumerate(("magnitude", "mine", "other")):
                right = 50 + k + (seed * 7 + k * 3) % 5
                facts = {"seed": seed, "scorer": scorer, "sparsity": S, "accuracy": right / 100, "correct": right, "n": 100}
                facts |= {"kappa": (0, 1, None)[k], "role": ("feature", "feature", role)[k]}
                rows.append(facts)
    return pd.DataFrame(rows)


def test_a_long_role_takes_no_room_from_the_numbers() -> None:
    document = report_table(frame((0.5, 0.6, 0.7, 0.8), role="hand-tuned baseline"))
    text = render(document, "terminal")
    overview = text[: text.index("Equivalence")] if "Equivalence" in text else text
    assert "…" not in overview
    assert all(f"S = {S:g}" in overview for S in (0.5, 0.6, 0.7, 0.8))


def test_sparsities_that_print_alike_stand_apart() -> None:
    document = report_table(frame((0.5, 0.7000001, 0.7000002)))
    assert by_scorer.equivalence(document).breaks == {2, 4}


def test_seeds_stand_in_their_order_whichever_has_the_first_row(document: ReportDocument) -> None:
    turned = replace(document, mcnemar=tuple(reversed(document.mcnemar)))
    shown = [column.heading for column in joint.mcnemar(turned).columns]
    assert len(shown) > 3
    assert shown == [column.heading for column in joint.mcnemar(document).columns]


def test_gates_of_one_name_have_places_of_their_own() -> None:
    document = report_table(frame((0.5,)), gates=["plateau@0.5", "plateau@0.5"])
    links = [row[0].link for row in joint.scorecard(document.gates, "gate").rows]
    assert links == ["gate-1", "gate-2"]


def test_a_sparsity_that_is_not_there_is_not_zero() -> None:
    assert sparsity(None).text == "–"

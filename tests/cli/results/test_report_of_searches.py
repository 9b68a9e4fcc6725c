"""A table of searched scorers through the command line, and the closing tables of a run that has them."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sics_analysis.report import report_table
from sics_analysis.results import IMAGE_ACCURACY
from sics_cli.console.verdict_tables import print_results
from sics_cli.main import main
from sics_cli.store.rows import CellRow

#: Test examples of 200 that each has right beside magnitude, by seed.
ABOVE = {
    "fusion_orbit_50": (8, 9, 7, 8, 9), "fusion_orbit_1": (-20, -21, -20, -19, -20), "fusion_information_50": (2, 3, 3, 2, 2),
    "fusion_shuffled_50": (1, 2, 1, 2, 1),
}  # fmt: skip


def table(percent: bool = False) -> pd.DataFrame:
    scale = 100 if percent else 1
    rows = []
    for seed in range(5):
        right = 160 + seed
        rows.append({"seed": seed, "scorer": "magnitude", "sparsity": 0.7, "accuracy": scale * right / 200, "loss": 0.3})
        for name, above in ABOVE.items():
            found = {"seed": seed, "scorer": name, "sparsity": 0.7, "accuracy": scale * (right + above[seed]) / 200}
            found |= {"loss": 0.3 - above[seed] / 100, "budget": int(name.rpartition("_")[2]), "weights": f"rho +{seed}"}
            found |= {"held_out": scale * (0.8 + above[seed] / 100), "held_out_reference": scale * 0.8}
            rows.append(found | {"held_out_loss": 0.3 - above[seed] / 80, "held_out_reference_loss": 0.3})
    return pd.DataFrame(rows)


def told(path: Path, kept: Path, *options: str) -> dict:
    assert main(["report", str(path), *options, "-o", str(kept)]) == 0
    return json.loads(kept.read_text(encoding="utf-8"))["searched"]


@pytest.mark.parametrize("percent", [False, True])
def test_a_table_of_searches_is_split_in_any_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str], percent: bool) -> None:
    table(percent).to_csv(tmp_path / "own.csv", index=False)
    found = told(tmp_path / "own.csv", tmp_path / "own.json")
    assert "column 'weights'" not in capsys.readouterr().err, "it is used, so nothing is remarked of it"
    (split,) = found["splits"]
    assert [round(split[part]["mean"], 9) for part in ("gain", "search", "information", "complexity")] == [4.1, 0.7, 0.5, 2.9]
    assert split["verdict"] == "ESCAPES"
    points = {point["scorer"]: point for point in found["points"]}
    # Held-out gains are twice the test gains here, so that the gap is as large as the gain.
    assert points["fusion_orbit_50"]["gap"]["mean"] == pytest.approx(4.1)
    assert points["fusion_orbit_50"]["gap_loss"]["mean"] == pytest.approx(-0.082 * (100 / 80 - 1))
    assert found["smaller"] == ["fusion_orbit_1"]
    assert main(["report", str(tmp_path / "own.csv")]) == 0
    out = capsys.readouterr().out
    assert "Searched scorers" in out
    assert "fusion_orbit_1 " not in out


def test_the_verdicts_as_a_table_have_every_budget(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "own.csv", index=False)
    assert main(["report", str(tmp_path / "own.csv"), "-o", str(tmp_path / "verdicts.csv")]) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "verdicts.csv").read_text(encoding="utf-8"))))
    assert {row["scorer"] for row in rows} == set(ABOVE)


def test_of_the_loss_the_gap_is_that_of_the_loss(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "own.csv", index=False)
    found = told(tmp_path / "own.csv", tmp_path / "own.json", "--metric", "loss", "--delta", "0.01")
    points = {point["scorer"]: point for point in found["points"]}
    gap = points["fusion_orbit_50"]["gap"]["mean"]
    assert gap == pytest.approx(-0.082 * (100 / 80 - 1)), "less is better, so a gap below 0 is over-fitting"
    assert points["fusion_orbit_50"]["gap_loss"] is None, "and is not said twice"
    assert found["splits"][0]["pays"]


def test_a_slip_in_a_column_of_searches_is_named_with_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = table().astype({"budget": object})
    frame.loc[1, "budget"] = "many"
    frame.to_csv(tmp_path / "own.csv", index=False)
    assert main(["report", str(tmp_path / "own.csv")]) in (1, 2)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "budget = 'many' is not accepted" in line


def test_closing_tables_show_the_largest_budget_and_what_was_concluded(cell_row: Callable[..., CellRow]) -> None:
    document = report_table(table(), metric=IMAGE_ACCURACY, draws=500)
    rows = [
        cell_row(cell_key=f"{name}{seed}", seed=seed, scorer=name, sparsity=0.7, mask_hash=f"{name}{seed}")
        for name in ("magnitude", *ABOVE)
        for seed in range(5)
    ]
    out = io.StringIO()
    print_results(Console(file=out, width=80), rows, {}, document)
    text = " ".join(out.getvalue().split())
    assert "fusion_orbit_1 " not in text
    assert "of every search its largest budget; 1 scorer more in the report" in text
    assert "searched Yes: orbit at S = 0.7." in text

"""Documents to render: a small table with every kind of line, hostile names, and tables that support next to nothing."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sics_analysis.report import ReportDocument, report_table
from sics_analysis.results import IMAGE_ACCURACY

DATA = Path(__file__).parent / "data"
#: Names that a page, a terminal, a script or a style sheet would obey if they were not escaped.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title></svg>",
    "]]><!--",
    "{{ 7 * 7 }}{% raw %}",
    "[bold]red[/]\x1b[31m",
    "$x_1$ \\textbf{y} & 50 % #_^~",
    "a|b`c`*d*_e_",
    "ünïcødé \u202e κ≥1 🙂",
    "long_" * 40,
)


def image_table(frame: pd.DataFrame, *settings: Any, **options: Any) -> ReportDocument:
    """The rows as those of one of the project's own runs, of which the paper speaks."""
    return report_table(frame, *settings, metric=IMAGE_ACCURACY, **options)


@pytest.fixture(scope="session")
def small_csv() -> Path:
    return DATA / "small.csv"


@pytest.fixture(scope="session")
def frame(small_csv: Path) -> pd.DataFrame:
    return pd.read_csv(small_csv)


@pytest.fixture(scope="session")
def bits(frame: pd.DataFrame) -> dict[tuple[int, str, float], np.ndarray]:
    rows = frame[frame["sparsity"] > 0]
    return {
        (int(row.seed), str(row.scorer), float(row.sparsity)): np.unpackbits(
            np.frombuffer(bytes.fromhex(row.bits), dtype=np.uint8), count=int(row.n)
        ).astype(bool)
        for row in rows.itertuples()
    }


@pytest.fixture(scope="session")
def document(frame: pd.DataFrame, bits: dict[Any, Any]) -> ReportDocument:
    return image_table(frame, bits=bits, noise_floor={0.5: 0.0, 0.7: 0.25}, title="small.csv", draws=20_000)


@pytest.fixture(scope="session")
def hostile_names() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture(scope="session")
def hostile() -> ReportDocument:
    """Every name, the title, a flag and a gate are hostile."""
    rng = np.random.default_rng(0)
    base = rng.normal(0.9, 0.01, 5)
    names = ("magnitude", *HOSTILE)
    rows = [
        (seed, name, S, float(np.clip(base[seed] + 0.01 * (i % 5 - 1) + rng.normal(0, 0.002), 0, 1)), i % 3, HOSTILE[0])
        for i, name in enumerate(names)
        for seed in range(5)
        for S in (0.6, 0.8)
    ]
    table = pd.DataFrame(rows, columns=["seed", "scorer", "sparsity", "accuracy", "kappa", "flags"])
    return image_table(table, title=HOSTILE[0] + HOSTILE[1], gates=["escape:a|b`c`*d*_e_@0.6"], draws=2_000)


@pytest.fixture(scope="session")
def make_table() -> Callable[..., pd.DataFrame]:
    """A table from what each scorer adds, in points, to a base accuracy by seed."""

    def make(added: dict[str, list[float]], sparsities: tuple[float, ...] = (0.7,), **columns: Any) -> pd.DataFrame:
        rows = [
            {"seed": seed, "scorer": name, "sparsity": S, "accuracy": 0.9 + 0.003 * (seed % 3) + points / 100}
            for name, values in added.items()
            for S in sparsities
            for seed, points in enumerate(values)
        ]
        return pd.DataFrame(rows).assign(**columns)

    return make


@pytest.fixture(scope="session")
def poor(make_table: Callable[..., pd.DataFrame]) -> dict[str, ReportDocument]:
    """Tables that support next to nothing: one seed, two, all identical, the reference alone, no κ."""
    return {
        "one seed": image_table(make_table({"magnitude": [0.0], "mine": [1.0]})),
        "two seeds": image_table(make_table({"magnitude": [0.0, 0.0], "mine": [1.0, 2.0]})),
        "identical": image_table(make_table({"magnitude": [0.0] * 5, "mine": [0.0] * 5, "yours": [0.0] * 5}, kappa=0)),
        "reference alone": image_table(make_table({"magnitude": [0.0] * 5})),
        "no kappa": image_table(make_table({"magnitude": [0.0] * 5, "mine": [1.0, 1.2, 0.9, 1.1, 1.0]})),
    }


@pytest.fixture(scope="session")
def tiny(make_table: Callable[..., pd.DataFrame]) -> ReportDocument:
    """The document of the snapshots."""
    added = {
        "magnitude": [0.0, 0.0, 0.0, 0.0, 0.0],
        "power": [0.0, 0.0, 0.0, 0.0, 0.0],
        "smooth_chaos": [2.9, 3.2, 3.0, 3.4, 2.7],
        "chaos": [0.4, -0.3, 0.9, 1.4, 0.1],
        "information": [2.1, 2.4, 2.0, 2.6, 1.9],
    }
    kappa = {"magnitude": 0, "power": 0, "smooth_chaos": 1, "chaos": 2}
    table = make_table(added)
    table["kappa"] = [kappa.get(name) for name in table["scorer"]]
    return image_table(table, title="tiny", draws=5_000)


def _close(one: Any, two: Any, where: str) -> None:
    if isinstance(one, dict) and isinstance(two, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            _close(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list) and isinstance(two, list):
        assert len(one) == len(two), where
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            _close(a, b, f"{where}[{i}]")
    elif isinstance(one, float) and isinstance(two, float):
        assert math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-12), (where, one, two)
    else:
        assert one == two, where


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    """Compare with the file of that name in `data`; numbers of a JSON to 1e-9, since libraries round differently.

    With UPDATE_SNAPSHOTS=1 in the environment the file is written instead, to be read before it is kept.
    """

    def compare(name: str, text: str) -> None:
        path = DATA / name
        if os.environ.get("UPDATE_SNAPSHOTS") == "1":
            path.write_text(text, encoding="utf-8")
        kept = path.read_text(encoding="utf-8")
        if name.endswith(".json"):
            _close(json.loads(text), json.loads(kept), name)
        else:
            assert text == kept

    return compare

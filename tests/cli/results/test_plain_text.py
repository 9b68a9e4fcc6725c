"""A file of commas alone is read without a look at each line, and as the others are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sics_cli.results.files import TableFileError, _is_plain, open_tables

PLAIN = "seed,scorer,sparsity,accuracy\n0,wanda,0.7,0.91\n1,wanda,,0.92\n0,snip,0.7,x"


def _opened(folder: Path, text: str) -> pd.DataFrame:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return open_tables([path]).frame


@pytest.mark.parametrize("end", ["", "\n"])
def test_it_is_read_as_a_file_whose_lines_are_looked_at(tmp_path: Path, end: str) -> None:
    looked_at = PLAIN.replace("0,snip", "0 ,snip") + end  # a space is stripped by who reads the cell
    assert _is_plain(PLAIN + end)
    assert not _is_plain(looked_at)
    plain, other = _opened(tmp_path, PLAIN + end), _opened(tmp_path, looked_at)
    pd.testing.assert_frame_equal(plain, other.assign(seed=other["seed"].str.strip()))
    assert plain.iloc[1].tolist() == ["1", "wanda", "", "0.92"]


def test_its_rows_have_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(PLAIN)
    opened = open_tables([path])
    assert [opened.line(i) for i in range(3)] == ["line 2", "line 3", "line 4"]
    assert opened.at(2) == f"{path} line 4"
    assert opened.places[1:] == [(path, "line 3"), (path, "line 4")]


@pytest.mark.parametrize(
    "text",
    [
        'seed,scorer\n0,"a"\n',
        "# seed\nseed,scorer\n0,a\n",
        "seed,scorer\r\n0,a\r\n",
        "seed,scorer\n\n0,a\n",
        "seed,scorer\n,\n0,a\n",
        "seed,scorer\n0,a,b\n",
        "seed;scorer\n0;a\n",
        "sep=,\nseed,scorer\n",
        "seed\n0\n",
        "seed,scorer",
        "",
    ],
)
def test_others_are_looked_at(text: str) -> None:
    assert not _is_plain(text)


def test_a_row_of_other_length_is_refused_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(TableFileError, match="line 3: has 3 fields where the heading has 4"):
        _opened(tmp_path, "seed,scorer,sparsity,accuracy\n0,a,0.7,0.9\n1,a,0.7\n")

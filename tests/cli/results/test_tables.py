"""`sics-run report FILE ...`: files of any kind, options, faults, and the project's own exports."""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sics_analysis import analyse
from sics_analysis.report import ReportDocument
from sics_analysis.report.words.answers import answers
from sics_cli.main import main

BASE = (0.902, 0.896, 0.901, 0.898, 0.905)
ADDED = {"magnitude": (0.0,) * 5, "mine": (3.1, 2.9, 3.3, 2.8, 3.0)}
Write = Callable[..., Path]


def rows(added: dict[str, tuple[float, ...]] = ADDED, head: str = "seed,scorer,sparsity,accuracy") -> str:
    found = [head]
    for name, points in added.items():
        found += [f"{i},{name},0.7,{BASE[i] + p / 100:.5f}" for i, p in enumerate(points)]
    return "\n".join(found) + "\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(content: str | bytes, name: str = "results.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def report(*arguments: str | Path) -> dict[str, Any]:
        assert main(["report", *map(str, arguments), "--format", "json"]) == 0, capsys.readouterr().err
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return report


def numbers(document: dict[str, Any]) -> dict[str, tuple[float, str]]:
    return {line["scorer"]: (round(line["mean"], 9), line["verdict"]) for line in document["lines"]}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a.csv", lambda text: text.encode("utf-8-sig")),
        ("a.csv", lambda text: text.encode("utf-16")),
        ("a.csv", lambda text: text.encode("utf-16-le")),
        ("a.tsv", lambda text: text.replace(",", "\t").encode()),
        ("a.csv", lambda text: text.replace(",", ";").encode()),
        ("a.csv", lambda text: ("sep=;\n" + text.replace(",", ";")).encode()),
        ("a.csv", lambda text: text.replace(",", ";").replace(".", ",").encode()),
        ("a.txt", lambda text: text.replace(",", "  ").encode()),
        ("a.csv", lambda text: text.replace("\n", "\r\n").encode()),
        ("a.csv.gz", lambda text: gzip.compress(text.encode())),
        ("a.dat", lambda text: ("# made by hand\n\n" + text + "\n# end\n").encode()),
        ("a.dat", lambda text: ("# " + text.replace("magnitude", "7").replace("mine", "8")).encode()),
        ("a.csv", lambda text: text.replace("mine", "größe").encode("cp1252")),
    ],
)
def test_the_same_rows_in_other_clothes(
    write: Write, told: Callable[..., dict[str, Any]], name: str, change: Callable[[str], bytes]
) -> None:
    path = write(change(rows()), name)
    content = change(rows())
    options = ["--reference", "7"] if b"7,0.7" in content and b"magnitude" not in content and b"m\0" not in content else []
    (found,) = numbers(told(path, *options)).values()
    assert found == (3.02, "ESCAPES")


def test_several_files_are_one_table(write: Write, told: Callable[..., dict[str, Any]]) -> None:
    one = write(rows({"magnitude": ADDED["magnitude"]}), "one.csv")
    two = write(rows({"mine": ADDED["mine"]}).replace(",", "\t"), "two.tsv")
    document = told(one, two)
    assert numbers(document) == {"mine": (3.02, "ESCAPES")}
    assert document["source"]["title"] == "one.csv and 1 more"
    assert [fact["value"] for fact in document["provenance"] if fact["label"] == "file"] == ["one.csv", "two.tsv"]


def test_files_that_are_no_one_table_are_refused_with_the_way_out(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(rows({"magnitude": ADDED["magnitude"]}), "one.csv")
    mine = rows({"mine": ADDED["mine"]})
    percent = "".join(
        line if i == 0 else ",".join([*line.split(",")[:3], f"{100 * float(line.split(',')[3]):.3f}\n"])
        for i, line in enumerate(mine.splitlines(keepends=True))
    )
    error = rows({"mine": ADDED["mine"]}, "seed,scorer,sparsity,test_error")
    for content, options, said in (
        (percent, [], "accuracy is in percent, and scorer magnitude nowhere above 1: give --unit percent"),
        (mine.replace("accuracy", "top5"), [], "two.csv: has no accuracy in any row: give --metric for what all have"),
        (mine.replace("accuracy", "val_acc"), [], "two.csv: has no accuracy in any row"),
        (mine.replace("scorer", "method"), [], "two.csv line 2: scorer = '' is not accepted: give a name"),
        (mine.replace("sparsity", "density"), [], "two.csv line 2: sparsity = '' is not accepted"),
        (error, ["--metric", "test_error", "--delta", "1"], "one.csv: has no test_error in any row"),
        (rows(), [], "two.csv line 2: seed 0, 'magnitude' at sparsity 0.7 is there already"),
        ("a,b\n1,2\n", [], "two.csv: has no column in common with one.csv"),
    ):
        two = write(content, "two.csv")
        assert main(["report", str(one), str(two), *options]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
    assert main(["report", str(one), str(one)]) == 2
    assert capsys.readouterr().err == f"sics-run: {one}: is given twice\n"


def test_an_export_and_a_table_are_one_table(finished: Any, write: Write, told: Callable[..., dict[str, Any]]) -> None:
    """A scorer somebody measured elsewhere, at the run's own seeds, beside the run's."""
    path = write("", "rows.csv")
    assert main(["export", str(finished.run), "-o", str(path)]) == 0
    with path.open() as file:
        magnitude = [(r["seed"], r["sparsity"], float(r["accuracy"])) for r in csv.DictReader(file) if r["scorer"] == "magnitude"]
    mine = write("seed,scorer,sparsity,accuracy\n" + "".join(f"{s},mine,{S},{a - 0.05}\n" for s, S, a in magnitude), "mine.csv")
    both, alone = told(path, mine), told(path)
    found = {line["scorer"]: line for line in both["lines"] if line["sparsity"] == 0.7}
    assert found["mine"]["mean"] == pytest.approx(-5.0)
    own = next(line for line in alone["lines"] if (line["scorer"], line["sparsity"]) == ("chaos", 0.7))
    assert found["chaos"]["differences"] == pytest.approx(own["differences"])
    said = "Assumed: of some rows alone the counts of correct examples are known: all are compared as fractions."
    assert said in both["notes"]
    assert said not in alone["notes"]


def test_an_exported_file_hears_nothing_of_its_hashes(finished: Any, write: Write, told: Callable[..., dict[str, Any]]) -> None:
    for ending in ("csv", "jsonl"):
        path = write("", f"rows.{ending}")
        assert main(["export", str(finished.run), "-o", str(path)]) == 0
        assert told(path)["checks"] == told(finished.run)["checks"]
    text = write("", "rows.csv")
    assert main(["export", str(finished.run), "-o", str(text)]) == 0
    with text.open() as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        line["checkpoint_hash"] = "aa"
    with text.open("w") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    assert [check["kind"] for check in told(text)["checks"] if check["level"] == "open"] == ["copied"]


def test_achieved_sparsities_are_rounded_as_asked(
    write: Write, told: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Sparsities achieved within .004 of .7 and .9: by hand, mine is +3.02 at .7 and +2.02 at .9."""
    text = ["seed,scorer,sparsity,accuracy"]
    for i, base in enumerate(BASE):
        for j, (name, points) in enumerate(ADDED.items()):
            for S, less in ((0.7, 0.0), (0.9, 1.0)):
                achieved = S + 0.002 * (i - 2) + 0.0005 * j
                text.append(f"{i},{name},{achieved:.4f},{base + (points[i] - less * (name == 'mine')) / 100:.5f}")
    path = write("\n".join(text) + "\n")
    document = told(path, "--round-sparsity", ".1")
    found = {(line["scorer"], line["sparsity"]): (round(line["mean"], 9), line["n"]) for line in document["lines"]}
    assert found == {("mine", 0.7): (3.02, 5), ("mine", 0.9): (2.02, 5)}
    assert "Assumed: sparsities are rounded to multiples of 0.1, as asked: 20 values are 2." in document["notes"]
    assert main(["plan", "--from", str(path), "--round-sparsity", ".1"]) == 0
    assert re.findall(r"(?m)^S = (\S+)", capsys.readouterr().out) == ["0.7", "0.9"]
    for step, said in (
        (".5", "sparsity 0.896 becomes 1: give a smaller step"),
        ("2", "'2' is not accepted: give a fraction above 0"),
    ):
        assert main(["report", str(path), "--round-sparsity", step]) == 2
        assert said in capsys.readouterr().err
    with pytest.warns(UserWarning, match="sparsities are rounded to multiples of 0.1, as asked: 20 values are 2"):
        made = analyse(pd.read_csv(path), round_sparsity=0.1, draws=500)
    assert {(line.scorer, line.sparsity, round(line.mean or 0.0, 9), line.n) for line in made.lines} == {
        ("mine", 0.7, 3.02, 5), ("mine", 0.9, 2.02, 5),
    }  # fmt: skip


def test_a_file_may_be_the_scorer(write: Write, told: Callable[..., dict[str, Any]]) -> None:
    texts = {
        name: "seed,accuracy\n" + "".join(f"{i},{BASE[i] + p / 100:.5f}\n" for i, p in enumerate(points))
        for name, points in ADDED.items()
    }
    files = [write(text, f"{name}.csv") for name, text in texts.items()]
    assert numbers(told(*files, "--columns", "scorer=file")) == {"mine": (3.02, "ESCAPES")}


def test_the_projects_exports_give_the_report_of_the_csv(
    finished: Any, tmp_path: Path, told: Callable[..., dict[str, Any]]
) -> None:
    pytest.importorskip("pyarrow")
    documents = []
    for ending in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"rows.{ending}"
        assert main(["export", str(finished.run), "-o", str(path)]) == 0
        document = told(path)
        for part in ("source", "provenance"):
            document.pop(part)
        documents.append(document)
    assert documents[0]["mcnemar"]
    assert documents[0]["claims"], "rows of a run know κ"
    assert documents[0] == documents[1] == documents[2]


def test_a_runs_own_loss(finished: Any, tmp_path: Path, told: Callable[..., dict[str, Any]]) -> None:
    path = tmp_path / "rows.csv"
    assert main(["export", str(finished.run), "-o", str(path)]) == 0
    run = told(finished.run, "--metric", "loss", "--delta", "0.05")
    table = told(path, "--metric", "loss", "--delta", "0.05")
    assert (
        run["metric"]
        == table["metric"]
        == {"name": "loss", "unit": "loss", "scale": 1.0, "lower_is_better": True, "paired": True}
    )
    assert run["lines"] == table["lines"]
    assert run["settings"]["stamps"] == ["plan changed after data"]
    assert not run["mcnemar"]
    with path.open() as file:
        losses = {(r["seed"], r["scorer"], r["sparsity"]): float(r["loss"]) for r in csv.DictReader(file)}
    line = next(line for line in run["lines"] if line["scorer"] == "chaos" and line["sparsity"] == 0.7)
    by_hand = [losses[str(s), "chaos", "0.7"] - losses[str(s), "magnitude", "0.7"] for s in line["seeds"]]
    assert line["differences"] == pytest.approx(by_hand, abs=1e-12), "above 0 where the loss rose"


def test_the_data_stand_above_the_verdicts_in_every_format(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "".join(line for line in rows().splitlines(keepends=True) if not line.startswith("4,mine"))
    path = write(text)
    said = "mine has no result for seed 4 at S = 0.7"
    for kind in ("terminal", "html", "md", "latex"):
        assert main(["report", str(path), "--format", kind]) == 0
        shown = " ".join(capsys.readouterr().out.replace("~", " ").replace("\u00a0", " ").split())
        assert said in shown
        assert shown.index(said) < shown.index("How sure are we?")
        assert "A data check is open, so this is not settled: mine escapes magnitude" in shown
        if kind in ("terminal", "md"):
            assert "✓" not in shown.split("In short")[0]
            assert "▲! ESCAPES" in shown
    assert main(["report", str(path), "--format", "csv"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["verdict"], row["flag"]) == ("ESCAPES", "missing")
    assert main(["report", str(path), "--format", "json"]) == 0
    (check,) = json.loads(capsys.readouterr().out)["checks"]
    assert (check["kind"], check["level"], check["scorers"], check["sparsities"]) == ("missing", "open", ["mine"], [0.7])


def test_verdicts_as_a_table(write: Write, tmp_path: Path) -> None:
    target = tmp_path / "verdicts.csv"
    assert main(["report", str(write(rows())), "-o", str(target)]) == 0
    (row,) = csv.DictReader(io.StringIO(target.read_text()))
    assert (row["scorer"], row["sparsity"], row["n"], row["unit"], row["verdict"]) == (
        "mine",
        "0.7",
        "5",
        "accuracy points",
        "ESCAPES",
    )
    # By hand: mean 3.02, sd 0.19235, t(0.95, 4) = 2.13185.
    assert float(row["difference"]) == pytest.approx(3.02)
    assert float(row["ci90_low"]) == pytest.approx(3.02 - 2.131847 * 0.192354 / 5**0.5, abs=1e-5)


def test_rows_without_a_sparsity_show_none(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(rows().replace(",0.7,", ",").replace("sparsity,", ""))
    for kind in ("terminal", "md", "latex", "html"):
        assert main(["report", str(path), "--format", kind]) == 0
        out = capsys.readouterr().out
        assert "S = 1" not in out.replace("$=$", "=").replace("\u00a0", " ").replace("~", " "), kind
        if kind == "terminal":
            assert not re.search(r"\bS\b|\bAt mine\b|sparsity", out.split("Notes")[0], re.M)
            assert not re.search(r", *$", out.split("diff.:")[0], re.M)  # the key below is wrapped


def test_a_gate_of_rows_without_a_sparsity(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(rows().replace(",0.7,", ",").replace("sparsity,", ""))
    assert main(["report", str(path), "--fail-on", "escape:mine"]) == 0
    assert "supported" in capsys.readouterr().out
    assert main(["report", str(path), "--fail-on", "escape:mine@0.7"]) == 2
    assert capsys.readouterr().err.endswith("Expected no sparsity, as the rows have none, got 'escape:mine@0.7'\n")
    assert main(["report", str(write(rows(), "with.csv")), "--fail-on", "escape:mine"]) == 2
    assert capsys.readouterr().err.endswith("Expected a sparsity, as in escape:SCORER@S, got 'escape:mine'\n")
    assert main(["report", str(path), "--fail-on", "escape:mine", "--delta", "5"]) == 4
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("sics-run: --fail-on escape:mine: contradicted: ")


def test_a_foreign_table_hears_nothing_of_the_paper(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("terminal", "md", "latex", "html"):
        assert main(["report", str(write(rows())), "--format", kind]) == 0
        out = capsys.readouterr().out.split(r"\def\sicsReport")[-1]  # a table that a paper may ask for stays defined
        for word in ("2605.09345", "κ(S)", "paper's", "plateau@", "Attribution"):
            assert word not in out, (kind, word)


def test_unpaired_is_stamped(write: Write, told: Callable[..., dict[str, Any]]) -> None:
    text = rows().replace("\n0,mine", "\n10,mine").replace("\n1,mine", "\n11,mine").replace("\n2,mine", "\n12,mine")
    text = text.replace("\n3,mine", "\n13,mine").replace("\n4,mine", "\n14,mine")
    path = write(text)
    first = told(path)
    assert first["lines"][0]["n"] == 0
    assert "--unpaired compares them as independent samples" in first["checks"][0]["text"]
    found = told(path, "--unpaired")
    assert found["settings"]["stamps"] == ["unpaired: seeds taken as independent samples, Welch's t and Holm's correction"]
    assert (found["lines"][0]["verdict"], round(found["lines"][0]["mean"], 9)) == ("ESCAPES", 3.02)


HEAD = "seed,scorer,sparsity,accuracy\n0,magnitude,.5,.9\n"


@pytest.mark.parametrize(
    ("content", "name", "options", "said"),
    [
        ("seed,method,val_acc,test_acc\n0,a,.9,.9\n", "a.csv", [],
            "a.csv: several columns could be the metric (val_acc, test_acc): give --columns metric=val_acc or "
            "--columns metric=test_acc"),
        ("method,acc\na,.9\n", "a.csv", [],
            "a.csv: column seed is missing (found 'method, acc'): say which it is, --columns seed=COLUMN"),
        (HEAD, "a.csv", ["--delta", "100"], "--delta 100: is not accepted: give accuracy points above 0 and below 100"),
        (HEAD, "a.csv", ["--columns", "seed"],
            "--columns 'seed': is not accepted: give ROLE=COLUMN, separated by commas, each role once"),
        (HEAD, "a.csv", ["--columns", "seed=x"],
            "--columns seed=x: there is no column 'x', but 'seed, scorer, sparsity, accuracy'"),
        (HEAD, "a.csv", ["--where", "x"], "--where 'x': is not accepted: give COLUMN=VALUE, each column once"),
        (HEAD, "a.csv", ["--repeats", ","], "--repeats ',': is not accepted: give columns separated by commas"),
        (HEAD, "a.csv", ["--metric", "mse"], "--metric mse: there is no such column, but 'seed, scorer, sparsity, accuracy'"),
        (HEAD, "a.csv", ["--metric", "a", "--columns", "metric=b"],
            "--metric and --columns metric=...: give one of them, both say what was measured"),
        ("seed,scorer,mse\n0,magnitude,2\n0,a,2\n", "a.csv", ["--metric", "mse"],
            "--delta: is needed, in mse: half a point is a default for accuracies alone"),
        (HEAD + "0,magnitude,0.5,.8\n", "a.csv", [],
            "a.csv line 3: seed 0, 'magnitude' at sparsity 0.5 is there already (line 2): one row per (seed, "
            "scorer, sparsity)"),
        (HEAD + "\n# note\n1,magnitude,0.5,x\n", "a.csv", [],
            "a.csv line 5: accuracy = 'x' is not accepted: give a fraction from 0 to 1, or percent"),
        (HEAD + '1,"magnitude,0.5\n', "a.csv", [], "a.csv: is not a CSV (EOF inside string starting at row 2)"),
        (HEAD + "1,magnitude\n", "a.csv", [], "a.csv line 3: has 2 fields where the heading has 4"),
        ('{"seed": 0}\nx\n', "a.jsonl", [], "a.jsonl line 2: is not JSON"),
        ("[1]\n", "a.jsonl", [], "a.jsonl line 1: is no JSON object, {...}"),
        ("", "a.jsonl", [], "a.jsonl: has no rows"),
        (b"PAR1nonsense", "a.parquet", [], "a.parquet: is not a Parquet file ("),
        (b"\x1f\x8b\x08nonsense", "a.csv.gz", [], "a.csv.gz: is a damaged gzip file ("),
    ],
)  # fmt: skip
def test_faults_get_one_line(
    write: Write, capsys: pytest.CaptureFixture[str], content: str | bytes, name: str, options: list[str], said: str
) -> None:
    path = write(content, name)
    assert main(["report", str(path), *options]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    last = [line for line in shown.err.splitlines() if ": assumed: " not in line]
    assert len(last) == 1
    text = last[0].replace(f"{path.parent}/", "")
    assert text == f"sics-run: {said}" or (said.endswith("(") and text.startswith(f"sics-run: {said}"))


def test_a_reader_that_is_not_installed_is_named(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pandas as pd

    def missing(*arguments: Any, **options: Any) -> None:
        raise ImportError

    monkeypatch.setattr(pd, "read_parquet", missing)
    monkeypatch.setattr(pd, "read_excel", missing)
    for path, said in (
        (write(b"PAR1", "a.parquet"), "Parquet needs pyarrow, pip install 'sics[parquet]'; csv and jsonl need nothing"),
        (write(b"PK\x03\x04", "a.xlsx"), "Excel needs openpyxl, pip install 'sics[xlsx]'; or save the sheet as CSV"),
    ):
        assert main(["report", str(path)]) == 2
        assert capsys.readouterr().err == f"sics-run: {path}: {said}\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--columns", "seed=run"], "--columns: is for tables; a run knows its own columns"),
        (["--metric", "top5"], "--metric top5: is not what a run measures: give accuracy or loss"),
        (["--metric", "loss"], "--delta: is needed, in loss: half a point is a default for accuracies alone"),
    ],
)
def test_options_that_a_run_does_not_take(
    finished: Any, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["report", str(finished.run), *options]) == 2
    assert capsys.readouterr().err == f"sics-run: {said}\n"


def test_a_gate_on_rows_with_an_open_check_trips_and_says_why(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing rests on such rows: a gate that passed on them would be the only headline that does."""
    added = {**ADDED, "other": (2.9, 3.1, 3.0, 3.2, 2.8)}
    text = "".join(line for line in rows(added).splitlines(keepends=True) if not line.startswith("4,mine"))
    path = write(text)
    assert main(["report", str(path), "--fail-on", "escape:mine@0.7"]) == 4
    shown = capsys.readouterr()
    assert (
        "sics-run: --fail-on escape:mine@0.7: supported, but a data check is open: mine has no result for seed 4 at S = 0.7"
        in shown.err
    )
    reason = "escape:mine@0.7: supported, but a data check is open: mine has no result for seed 4 at S = 0.7"
    assert f"1 of 1 tripped: {reason}" in " ".join(shown.out.split())
    assert main(["report", str(path), "--fail-on", "escape:other@0.7"]) == 0, "no check touches it"
    assert main(["report", str(path), "--fail-on", "escape:mine@0.7", "--format", "html"]) == 4
    out = capsys.readouterr().out.replace("\u00a0", " ")
    assert "Gate tripped: escape:mine@0.7 is supported, but a data check is open: mine has no result" in out
    assert main(["report", str(path), "--fail-on", "escape:mine@0.7", "--format", "md"]) == 4
    assert f"1 of 1 tripped:\n\n- {reason}".replace("@", "@<!-- -->") in capsys.readouterr().out


def test_what_to_do_next_begins_with_the_open_check(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A scorer without its worst seed is no finding, whatever its other seeds show."""
    text = "".join(line for line in rows().splitlines(keepends=True) if not line.startswith("4,mine"))
    path = write(text)
    first = "First close the open data check, on which nothing can rest. Missing: mine has no result for seed 4 at S = 0.7"
    way = "(add the missing seeds, or leave the scorer out)"
    for command in (["report", str(path)], ["report", str(path), "--format", "md"], ["plan", "--from", str(path)]):
        assert main(command) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert first in out, command
        assert way in out, command
    assert main(["report", str(path), "--format", "json"]) == 0
    document = ReportDocument.from_json(capsys.readouterr().out)
    answer = next(one for one in answers(document) if one.id == "next")
    assert (answer.tone, answer.short) == ("fact", "Close 1 data check first")
    whole = write(rows(), "whole.csv")
    assert main(["report", str(whole)]) == 0
    assert "First close" not in capsys.readouterr().out


def test_how_far_against_the_dense_network_from_a_table(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    noise = (0.0, 0.05, -0.05, 0.1, -0.1)
    lines = ["seed,scorer,sparsity,accuracy,kappa"]
    for i, base in enumerate(BASE):
        lines.append(f"{i},dense,0,{base:.5f},")
        loss = {
            ("magnitude", 0.5): 0.0,
            ("magnitude", 0.7): 2.0,
            ("magnitude", 0.9): 4.0,
            ("wanda", 0.5): 0.0,
            ("wanda", 0.9): 0.1,
        }
        lines += [
            f"{i},{name},{S},{base - (points + noise[i]) / 100:.5f},{int(name == 'wanda')}" for (name, S), points in loss.items()
        ]
    path = write("\n".join(lines) + "\n")
    assert main(["report", str(path), "--reference", "dense"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "wanda can prune to S = 0.9 and lose less than 0.5 points to the dense network, shown from the lowest S up (without any "
        "result at S = 0.7)." in out
    )
    assert "To S = 0.9: wanda (without any result at S = 0.7). To S = 0.5: magnitude." in out
    assert "Is there a plateau?" not in out, "how far one can prune is another question"
    assert main(["report", str(path), "--reference", "dense", "--format", "json"]) == 0
    found = {far["scorer"]: far for far in json.loads(capsys.readouterr().out)["how_far"]}
    assert found["wanda"]["gaps"] == [0.7]
    assert found["magnitude"]["gaps"] == []
    assert main(["report", str(path), "--reference", "magnitude"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "5 rows of sparsity 0 are dense networks, which --reference dense compares with" in shown


def test_a_margin_in_fractions_is_told_and_gives_the_numbers_of_points(
    write: Write, told: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(rows())
    points = told(path, "--delta", "2.9")
    fraction = told(path, "--unit", "fraction", "--delta", "0.029")
    assert fraction["lines"] == points["lines"]
    assert fraction["settings"]["delta"] == pytest.approx(2.9)
    assert any("δ = 0.029 is in the fraction: 2.9 points" in note for note in fraction["notes"])
    assert main(["report", str(path), "--unit", "fraction", "--delta", "2.9"]) == 2
    assert "--delta 2.9: is not accepted: give a fraction above 0 and below 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scorers", "options", "said"),
    [
        (("l1", "mine"), [], "give --reference l1 | mine (l1 is the likely one)"),
        (("global_magnitude", "mine"), [], "(global_magnitude is the likely one)"),
        (("snip", "mine"), [], "give --reference mine | snip\n"),
        (("magnitude", "mine"), ["--reference", "magnitud"], "(did you mean magnitude?)"),
    ],
)
def test_a_reference_that_is_not_there_is_answered_with_the_likely_one(
    write: Write, capsys: pytest.CaptureFixture[str], scorers: tuple[str, str], options: list[str], said: str
) -> None:
    path = write(rows(dict(zip(scorers, ADDED.values(), strict=True))))
    assert main(["report", str(path), *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["terminal", "html", "md", "csv"])
@pytest.mark.parametrize("reference", ["magnitude", "dense"])
def test_a_table_without_kappa_hears_nothing_of_a_plateau(
    write: Write, capsys: pytest.CaptureFixture[str], kind: str, reference: str
) -> None:
    text = rows() + "".join(f"{i},dense,0,{base}\n" for i, base in enumerate(BASE))
    assert main(["report", str(write(text)), "--reference", reference, "--format", kind]) == 0
    assert "plateau" not in capsys.readouterr().out.lower()


def test_a_runs_accuracy_has_one_unit_and_direction(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for options, said in (
        (["--unit", "MSE"], "--unit MSE: accuracy is in points, by what the run measured: give points, percent or fraction"),
        (["--lower-is-better"], "--lower-is-better: more accuracy is better, by what the run measured: leave the option out"),
        (["--metric", "loss", "--unit", "fraction", "--delta", ".01"], "--unit fraction: a loss is no share of anything: give"),
    ):
        assert main(["report", str(finished.run), *options]) == 2
        assert said in capsys.readouterr().err


def test_a_runs_accuracy_takes_a_margin_in_fractions(
    finished: Any, told: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    for unit, delta in (("fraction", ".02"), ("percent", "2"), ("points", "2")):
        found = told(finished.run, "--unit", unit, "--delta", delta)
        assert found["settings"]["delta"] == 2.0
        assert found["lines"] == told(finished.run, "--delta", "2")["lines"]
    assert main(["report", str(finished.run), "--unit", "fraction"]) == 0, "the plan's margin stays in points"
    assert "δ = 0.5 points" in capsys.readouterr().out
    assert main(["plan", "--from", str(finished.run), "--unit", "fraction", "--delta", ".02", "--difference", ".05"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "at δ = 2 points" in out
    assert "one of true difference +5 above +2" in out

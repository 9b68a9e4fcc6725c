"""`sics-run report` end to end: on a CSV of any framework, and on the store of a tiny run."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sics_analysis.claims.statement import GRAMMAR
from sics_cli.main import main
from sics_cli.results.source import Settings, comparable, read_source, replicate_command, when_fixed
from sics_cli.store.rows import CellRow, PlanRow

#: Accuracy of magnitude by seed, and what each scorer adds to it, in points.
BASE = (0.9020, 0.8960, 0.9010, 0.8980, 0.9050)
ADDED = {
    "magnitude": (0.0, 0.0, 0.0, 0.0, 0.0),
    "mine": (3.1, 2.9, 3.3, 2.8, 3.0),
    "flat": (0.1, -0.1, 0.05, 0.0, -0.05),
    "worse": (-4.0, -4.3, -3.9, -4.1, -4.2),
    "noisy": (1.9, -1.2, 0.4, 2.2, -0.8),
}
Write = Callable[..., Path]


def rows_text(added: dict[str, tuple[float, ...]] = ADDED, sparsity: str = "0.7") -> str:
    rows = ["seed,scorer,sparsity,accuracy"]
    for name, points in added.items():
        rows += [f"{i},{name},{sparsity},{BASE[i] + p / 100:.5f}" for i, p in enumerate(points)]
    return "\n".join(rows) + "\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(text: str, name: str = "results.csv") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


@pytest.fixture
def table(write: Write) -> Path:
    return write(rows_text())


def words(text: str) -> str:
    return " ".join(text.split())


# -- what it shows ----------------------------------------------------------------------------------------------------


def test_every_verdict_with_its_numbers(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(table)]) == 0
    out = capsys.readouterr().out
    block = out.split("\nS = 0.7")[1]
    lines = {line.split()[0]: line.split() for line in block.splitlines() if line.split()}
    # By hand: differences 3.1 2.9 3.3 2.8 3.0, mean 3.02, sd 0.1924, t(0.95, 4) = 2.1318: ± 0.183.
    assert lines["mine"][1:6] == ["–", "5", "+3.02", "[+2.84,", "+3.20]"]
    assert lines["mine"][-2:] == ["▲", "ESCAPES"]
    assert lines["flat"][-2:] == ["=", "EQUIVALENT"]
    assert lines["worse"][-2:] == ["▼", "DEGRADES"]
    assert lines["noisy"][-2:] == ["?", "INCONCLUSIVE"]
    assert "undecided, 90 % interval crosses both −0.5 and +0.5: noisy" in block
    assert re.search(r"^mine +– +▲ +\+3.02$", out, re.MULTILINE), "the overview says it first"
    assert "1 of 4 lines of the family is undecided, which is not agreement" in words(out)


def test_notes_never_go_missing(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(table)]) == 0
    notes = words(capsys.readouterr().out.split("\nNotes\n")[1])
    for part in (
        "A seed varied: unknown",
        "n = 5 complete seeds a line, α = 0.05, δ = 0.5 accuracy points, reference magnitude",
        "When they were fixed: unknown: a table does not say",
        "Smallest attainable p of an exact sign-flip test: 0.0312 with 5 seeds",
        "cover about 83.6 %",
        "not measured",
        "Without a column kappa the family of an S is every scorer but the reference",
    ):
        assert part in notes, part


def test_claims_have_a_row_and_a_paragraph_each(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from sics_analysis.claims.statement import paper_claims

    assert main(["report", str(finished.run)]) == 0
    out = capsys.readouterr().out
    part, notes = out.split("\nThe paper's claims")[1].split("\nNotes\n")
    searched = [claim for claim in paper_claims() if any(name.startswith("fusion_") or "/" in name for name in claim.scorers)]
    assert "Claims of the paper not tested on these rows: " in words(notes)
    for claim in searched:
        there = bool({0.5, 0.7, 0.8} & set(claim.sparsities))
        assert (claim.id in words(notes), claim.id in part.split()) == (there, False), claim.id
    for claim in (claim for claim in paper_claims() if claim not in searched):
        assert len(re.findall(rf"(?m)^{re.escape(claim.id)} .*(supported|contradicted|undecided)", part)) == 1, claim.id
        assert len(re.findall(rf"(?m)^  [✓✗?] {re.escape(claim.id)}$", part)) == 1, claim.id
        assert words(claim.statement) in words(part)
    assert max(len(line) for line in out.splitlines() if "sics-run replicate" not in line) <= 80, "a command stays whole"
    assert "\x1b" not in out


def test_report_of_a_run(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(finished.run)]) == 0
    out = capsys.readouterr().out
    assert main(["report", str(finished.store)]) == 0
    assert capsys.readouterr().out == out, "the folder and its store are one run"
    assert "SICS report: vit on digits, saliency gradient, cpu" in out
    for sparsity in ("0.5", "0.7", "0.8"):
        assert f"S = {sparsity}  noise floor 0.00 points" in out
    assert len(re.findall(r"^power +0 .*≡ IDENTICAL *$", out, re.MULTILINE)) == 3
    assert "A seed varied: a network's initialisation, its data order, calibration batches" in words(out)
    assert re.search(r"fixed: 20\d\d-\S+, before the first cell", words(out))
    assert "STAMPED" not in out
    assert "κ(0.5) is not available: too few seeds: 2." in words(out)


def test_other_settings_than_planned_are_stamped_and_the_store_stays(
    copy: Any, snapshot: Callable[[Path], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(copy.store)
    for option, value in (("--delta", "2"), ("--alpha", "0.01"), ("--reference", "power"), ("--reference", "plateau")):
        assert main(["report", str(copy.run), option, value]) == 0
        out = capsys.readouterr().out
        assert "STAMPED: plan changed after data" in out
        assert "now, for this report; the plan had δ = 0.5, α = 0.05, reference magnitude" in words(out)
    assert main(["report", str(copy.run), "--delta", "0.5", "--alpha", "0.05", "--reference", "magnitude"]) == 0
    assert "STAMPED" not in capsys.readouterr().out, "the plan's own settings, said aloud"
    assert snapshot(copy.store) == before


def test_a_run_and_its_export_agree(finished: Any, tmp_path: Path) -> None:
    table, one, two = tmp_path / "e.csv", tmp_path / "a.json", tmp_path / "b.json"
    assert main(["export", str(finished.run), "-o", str(table)]) == 0
    assert main(["report", str(finished.run), "-o", str(one)]) == 0
    assert main(["report", str(table), "-o", str(two)]) == 0
    run, csv = (json.loads(path.read_text()) for path in (one, two))
    for part in ("lines", "spectrum", "attribution", "mcnemar", "plateaus", "winners", "cells", "scorers", "deltas", "claims"):
        assert run[part] == csv[part], part
    assert run["mcnemar"], "per-example results travel through the CSV"


# -- formats ----------------------------------------------------------------------------------------------------------


def test_same_rows_same_bytes(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for kind in ("json", "terminal", "html", "md", "latex"):
        for i in (0, 1):
            target = tmp_path / f"{i}.{kind}"
            assert main(["report", str(table), "--format", kind, "-o", str(target)]) == 0
            shown.append(target.read_bytes())
        assert "written to" in (captured := capsys.readouterr()).err
        assert [line.partition(":")[0] for line in captured.out.splitlines() if line[:1] != " "] == 2 * [
            "Shown", "Explained by", "Open",
        ]  # fmt: skip
        assert main(["report", str(table), "--format", kind]) == 0
        assert capsys.readouterr().out.encode() == shown[-1]
    assert shown[0::2] == shown[1::2]


def test_order_of_rows_changes_no_number(table: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = table.read_text().splitlines()
    other = write("\n".join([head, *reversed(rows)]) + "\n", "other.csv")
    documents = []
    for path in (table, other):
        assert main(["report", str(path), "--format", "json"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    for document in documents:
        document.pop("source")
        document.pop("provenance")
    assert documents[0] == documents[1]


def test_json_is_strict_sorted_and_knows_no_paths(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(finished.run), "--format", "json"]) == 0
    text = capsys.readouterr().out

    def refuse(name: str) -> None:
        raise AssertionError(name)

    document = json.loads(text, parse_constant=refuse)
    assert json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n" == text
    assert (document["schema"], document["kind"]) == (3, "sics-report")
    assert str(finished.folder) not in text
    assert "wall_seconds" not in text
    assert {line["scorer"] for line in document["lines"]} >= {"chaos", "fake", "power"}
    assert {cell["scorer"] for cell in document["cells"]} >= {"dense", "magnitude"}
    facts = {fact["label"]: fact["value"] for fact in document["provenance"]}
    assert set(facts) >= {"run", "plan", "device", "versions", "code", "python", "model", "data"}
    assert {"claims", "gates", "notes", "settings", "source"} <= set(document)


def test_output_is_not_destroyed(copy: Any, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, stored = table.read_bytes(), copy.store.read_bytes()
    assert main(["report", str(table), "-o", str(table)]) == 2
    assert main(["report", str(copy.run), "-o", str(copy.store)]) == 2
    assert main(["report", str(table), "-o", str(copy.run)]) == 2
    assert main(["report", str(table), "-o", str(copy.folder / "none" / "x.json")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.startswith("sics-run: --output ") for line in shown.err.splitlines()] == [True] * 4
    assert (table.read_bytes(), copy.store.read_bytes()) == (before, stored)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("r.html", "<!DOCTYPE html>"),
        ("r.HTM", "<!DOCTYPE html>"),
        ("r.md", "# "),
        ("r.tex", "%"),
        ("r.json", "{"),
        ("r.txt", "SICS report"),
        ("r", "SICS report"),
    ],
)
def test_the_ending_names_the_format(table: Path, tmp_path: Path, name: str, begins: str) -> None:
    assert main(["report", str(table), "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text().startswith(begins)
    assert main(["report", str(table), "-o", str(tmp_path / name), "--format", "json"]) == 0
    assert json.loads((tmp_path / name).read_text())["kind"] == "sics-report", "an option said aloud wins over the ending"


def test_an_ending_of_no_format_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "no-such-file.csv", "-o", str(tmp_path / "x.pdf")]) == 2
    shown = capsys.readouterr()
    assert "x.pdf: give a name ending in .html | .htm | .md" in shown.err
    assert "or say --format terminal | html" in shown.err
    assert len(shown.err.splitlines()) == 1


def test_a_kept_report_gives_the_same_bytes_in_every_format(
    finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.json"
    assert main(["report", str(finished.run), "-o", str(kept)]) == 0
    capsys.readouterr()
    for kind in ("terminal", "html", "md", "latex", "json"):
        assert main(["report", str(finished.run), "--format", kind]) == 0
        fresh = capsys.readouterr().out
        assert main(["report", str(kept), "--format", kind]) == 0
        assert capsys.readouterr().out == fresh, kind


def test_a_kept_report_answers_the_gates_it_knows(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.json"
    asked = ["--fail-on", "escape:noisy@0.7", "--fail-on", "bump-size"]
    assert main(["report", str(table), "-o", str(kept), *asked]) == 4
    capsys.readouterr()
    assert main(["report", str(kept)]) == 0, "gates are of a command, not of a report"
    assert main(["report", str(kept), "--fail-on", "escape:noisy@0.7", "--fail-on", "bump-size"]) == 4
    capsys.readouterr()
    assert main(["report", str(kept), "--fail-on", "escape:mine@0.7"]) == 2
    assert "--fail-on 'escape:mine@0.7': was not asked of kept.json when it was made" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--delta", "1"], 2, "--delta: kept.json is a report under its own settings"),
        (["--reference", "flat"], 2, "--reference: kept.json is a report under its own settings"),
        (["--across-devices"], 2, "--across-devices: kept.json is a report under its own settings"),
    ],
)
def test_settings_beside_a_kept_report_are_refused(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, said: str
) -> None:
    kept = tmp_path / "kept.json"
    assert main(["report", str(table), "-o", str(kept)]) == 0
    capsys.readouterr()
    assert main(["report", str(kept), *options]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"kind": "sics-report", "schema": 1}', '{"kind": "sics-report", "schema": 2}', "[" * 5000]
)
def test_a_json_that_is_no_report_gets_one_line(write: Write, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = write(text, "x.json")
    assert main(["report", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "is not a report as --format json writes it" in shown.err
    assert len(shown.err.splitlines()) == 1


def test_figures_are_written_for_a_paper(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "deep" / "figures"
    assert main(["report", str(table), "--figures", str(folder)]) == 0
    shown = capsys.readouterr()
    written = sorted(path.name for path in folder.iterdir())
    assert f"{len(written)} files written to {folder}" in shown.err
    assert {"equivalence.pdf", "equivalence.png", "escape.pdf"} <= set(written)
    assert "\nNotes\n" in shown.out
    assert main(["report", str(table), "--figures", str(table)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "", "it is said before any work"
    assert f"--figures {table}: is a file; give a folder" in shown.err
    assert main(["report", str(table), "--figures", str(table / "deeper")]) == 2
    assert f"lies in {table}, which is a file; give a folder" in capsys.readouterr().err


# -- gates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "code", "status"),
    [
        (["escape:mine@0.7"], 0, None),
        (["escape:noisy@0.7"], 4, "undecided"),
        (["escape:flat@0.7"], 4, "contradicted"),
        (["escape:mine@0.7", "plateau@0.7"], 4, "no column kappa"),
        (["escape:mine@0.9"], 4, "not measured in this run"),
        (["kappa@0.7=1"], 4, "no column kappa"),
        (["bump-size"], 4, "undecided"),
        (["noninferior:mine@0.7", "noninferior:flat@0.7", "nonsuperior:flat@0.7", "nonsuperior:worse@0.7"], 0, None),
        (["noninferior:worse@0.7"], 4, "contradicted, S = 0.7: −4.10 points, 90 % CI [−4.25, −3.95], shown below −0.5"),
        (["nonsuperior:mine@0.7"], 4, "contradicted"),
        (["noninferior:noisy@0.7"], 4, "undecided"),
        (["nonsuperior:noisy@0.7"], 4, "undecided"),
        (["noninferior:flat@0.9"], 4, "not measured in this run"),
    ],
)
def test_gates(table: Path, capsys: pytest.CaptureFixture[str], claims: list[str], code: int, status: str | None) -> None:
    options = [word for claim in claims for word in ("--fail-on", claim)]
    assert main(["report", str(table), *options]) == code
    shown = capsys.readouterr()
    assert "\nGates" in shown.out, "the report is printed whether or not a gate trips"
    assert "\nNotes\n" in shown.out
    if status is None:
        assert shown.err == ""
    else:
        assert f"sics-run: --fail-on {claims[-1]}: " in shown.err
        assert status in shown.err


@pytest.mark.parametrize(
    ("scorer", "said"), [("nine", "which is not among the scorers"), ("magnitude", "which is the reference")]
)
def test_a_slip_in_the_name_of_a_scorer_trips_no_gate(
    table: Path, capsys: pytest.CaptureFixture[str], scorer: str, said: str
) -> None:
    assert main(["report", str(table), "--fail-on", f"escape:{scorer}@0.7"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"--fail-on 'escape:{scorer}@0.7': Expected a scorer among flat, mine, noisy, worse" in shown.err
    assert said in shown.err


def test_three_equal_seeds_pass_no_gate_and_five_pass_that_of_the_plateau(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for n, codes in ((3, (4, 4, 4)), (5, (0, 0, 0))):
        rows = ["seed,scorer,sparsity,accuracy,kappa"]
        for name, points in (("magnitude", 0.0), ("power", 0.2)):
            rows += [f"{i},{name},0.7,{BASE[i] + points / 100:.5f},0" for i in range(n)]
        path = write("\n".join(rows) + "\n", f"equal{n}.csv")
        claims = ("plateau@0.7", "noninferior:power@0.7", "nonsuperior:power@0.7")
        assert tuple(main(["report", str(path), "--fail-on", claim]) for claim in claims) == codes
        shown = capsys.readouterr()
        assert ("too few seeds for a constant difference" in words(shown.out)) is (n == 3)


def test_the_help_names_every_form_of_a_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--help"]) == 0
    shown = words(capsys.readouterr().out)
    forms = re.findall(r"\b[a-z]+(?=[@:])", GRAMMAR)
    assert len(forms) == 5
    for form in forms:
        assert re.search(rf"\b{form}[@:]", shown), form


@pytest.mark.parametrize("claim", ["nonsense", "kappa@0.7=3", "plateau@1.5", "escape:@0.7", "plateau@", ""])
def test_unknown_claim_is_a_usage_error_before_anything_is_read(capsys: pytest.CaptureFixture[str], claim: str) -> None:
    assert main(["report", "no-such-file.csv", "--fail-on", claim]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert f"--fail-on {claim!r}: is not accepted: give {GRAMMAR} (" in shown.err
    assert "smooth-size-0.7" in shown.err


# -- bad input --------------------------------------------------------------------------------------------------------

HEAD = "seed,scorer,sparsity,accuracy"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "column seed, scorer, accuracy is missing (found no header line)"),
        (f"{HEAD}\n", "has a heading and no rows"),
        ("seed,scorer,x\n0,a,0.5\n", "column accuracy is missing (found 'seed, scorer, x'): say which it is, --columns metric="),
        (f"{HEAD}\n0,a,0.5,193.1\n", "line 2: accuracy = '193.1' is not accepted: give a fraction from 0 to 1, or percent"),
        (f"{HEAD}\n0,a,0.5,-0.1\n", "accuracy = '-0.1'"),
        (f"{HEAD}\n0,a,0.5,nan\n", "holds no row of a pruned network (sparsity above 0) with an accuracy"),
        (f"{HEAD}\n0,a,0.5,inf\n", "accuracy = 'inf'"),
        (f"{HEAD}\n0,a,0.5,good\n", "line 2: accuracy = 'good' is not accepted: give a fraction from 0 to 1"),
        (f"{HEAD}\n0,a,150,0.9\n", "sparsity = '150' is not accepted: give a fraction of at least 0 and below 1"),
        (f"{HEAD}\n0,,0.5,0.9\n", "scorer = '' is not accepted: give a name"),
        (f"{HEAD}\n,a,0.5,0.9\n", "seed = '' is not accepted"),
        (f"{HEAD}\n0,a,0.5\n", "line 2: has 3 fields where the heading has 4"),
        (f"{HEAD}\n0,a,.5,.9\n0,b,.5,.9\n0,a,0.50,.8\n", "line 4: seed 0, 'a' at sparsity 0.5 is there already (line 2)"),
        (f"{HEAD},accuracy\n0,a,.5,.9,.9\n", "column accuracy is there twice"),
        (f"{HEAD},kappa\n0,a,.5,.9,3\n", "kappa = '3' is not accepted: give 0, 1, 2 or nothing"),
        (f"{HEAD},correct,n\n0,magnitude,.5,.9,3,10\n", "accuracy"),
        (f"{HEAD},n,bits\n0,magnitude,.5,.5,4,zz\n", "line 2: bits are not 4 examples in hex"),
        (f"{HEAD},unit\n0,magnitude,.5,.9,weight\n0,b,.5,.9,channel\n", "Expected one `unit`"),
        (f"{HEAD}\n0,magnitude,0,.9\n", "holds no row of a pruned network"),
        (f'{HEAD}\n0,"a,.5,.9\n', "is not a CSV"),
    ],
)
def test_bad_tables_get_one_line(write: Write, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    path = write(text)
    assert main(["report", str(path)]) == (1 if said.startswith("Expected") or said == "accuracy" else 2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert said in shown.err
    assert "results.csv" in shown.err
    assert "SICS_TRACEBACK" not in shown.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--reference", "nobody"], 2, "--reference 'nobody': is not among the scorers: give flat | magnitude | mine"),
        (["--reference", "plateau"], 2, "--reference 'plateau': needs rows of kappa 0"),
        (["--delta", "0"], 2, "'--delta': '0' is not accepted: give accuracy points above 0 and below 100"),
        (["--delta", "nan"], 2, "'nan' is not accepted"),
        (["--alpha", "0.5"], 2, "'--alpha': '0.5' is not accepted: give a level above 0 and below 0.5"),
        (["--format", "pdf"], 2, "'pdf' is not accepted: give terminal | html | md | latex | json"),
        (["--across-devices"], 2, "--across-devices: is for runs"),
    ],
)
def test_bad_options_get_one_line(
    table: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, said: str
) -> None:
    assert main(["report", str(table), *options]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert said in shown.err


def test_what_is_neither_run_nor_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "x.png"
    picture.write_bytes(b"\x89PNG\xff\xfe")
    for path, said in (
        (tmp_path / "none", "there is no such run or file"),
        (tmp_path, "holds no run"),
        (picture, "is neither a run nor a text file"),
    ):
        assert main(["report", str(path)]) == 1
        err = capsys.readouterr().err
        assert said in err
        assert str(path) in err
        assert len(err.splitlines()) == 1


# -- hostile names, small tables, terminals ---------------------------------------------------------------------------


def test_names_are_shown_literally(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = {
        "magnitude": ADDED["magnitude"],
        "<script>": ADDED["mine"],
        "[bold]x[/]": ADDED["noisy"],
        "[/]": ADDED["flat"],
        "red\x1b[31m": ADDED["noisy"],
    }
    path = write(rows_text(hostile))
    assert main(["report", str(path), "--fail-on", "escape:[bold]x[/]@0.7"]) == 4
    shown = capsys.readouterr()
    for name in ("<script>", "[bold]x[/]", "[/]", "red\\x1b[31m"):
        assert re.search(rf"(?m)^{re.escape(name)} ", shown.out), name
    assert "\x1b" not in shown.out + shown.err
    assert main(["report", str(path), "--format", "json"]) == 0
    assert set(hostile) == {scorer["name"] for scorer in json.loads(capsys.readouterr().out)["scorers"]}
    assert main(["report", str(path), "--reference", "x"]) == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_are_said(write: Write, capsys: pytest.CaptureFixture[str], seeds: int) -> None:
    path = write(rows_text({name: points[:seeds] for name, points in ADDED.items()}))
    assert main(["report", str(path)]) == 0
    out = capsys.readouterr().out
    assert "too few seeds" in out
    assert "nan" not in out
    assert out.count("? INCONCLUSIVE") >= 4


def test_the_reference_alone_has_no_lines(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(rows_text({"magnitude": ADDED["magnitude"]}))
    assert main(["report", str(path)]) == 0
    assert "magnitude (reference)" in capsys.readouterr().out


def test_unequal_seeds_are_counted_by_line(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write("".join(line for line in rows_text().splitlines(keepends=True) if not line.startswith("4,flat")))
    assert main(["report", str(path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"(?m)^flat +– 4 ", out)
    assert re.search(r"(?m)^mine +– 5 ", out)
    assert "n = 4 to 5 complete seeds a line" in words(out)
    assert "0.0625 with 4 seeds, 0.0312 with 5 seeds" in words(out)


def test_a_byte_order_mark_spaces_and_named_seeds_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = rows_text().replace(",", " , ").replace("\n0 ,", "\nfirst ,")
    path = tmp_path / "results.csv"
    path.write_text(text, encoding="utf-8-sig")
    assert main(["report", str(path)]) == 0
    assert re.search(r"(?m)^mine +– 5 +\+3.02", capsys.readouterr().out)


def test_signs_survive_a_terminal_without_unicode(table: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sics_cli", "report", str(table)],
        capture_output=True, check=False, env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = done.stdout.decode("ascii")
    assert re.search(r"(?m)^worse .*-4.10\|.*v DEGRADES", out)
    assert re.search(r"(?m)^mine .*\+3.02\|.*\^ ESCAPES", out)


def test_no_torch(finished: Any, table: Path) -> None:
    code = "import sys; from sics_cli.main import main; c = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(c)"
    for source in (str(table), str(finished.run)):
        done = subprocess.run([sys.executable, "-c", code, "report", source], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        modules = {name.split(".")[0] for name in done.stderr.split()}
        assert not modules & {"torch", "sics_plugin", "timm", "sklearn", "statsmodels", "matplotlib", "jinja2"}
        assert "sics_analysis" in modules


# -- what a store tells -----------------------------------------------------------------------------------------------


def test_stamps_and_remarks_of_a_store(copy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    with sqlite3.connect(copy.store) as connection:
        connection.execute("DELETE FROM cells WHERE scorer = 'chaos' AND seed = 1 AND sparsity = 0.7")
        connection.execute("UPDATE cells SET calibration_hash = 'other' WHERE scorer = 'wiggle' AND seed = 0 AND sparsity = 0.5")
        connection.execute("UPDATE plans SET stamp = 'seeds extended after data', cells_before = 9")
        connection.execute("UPDATE repeats SET correct = correct - 18")
    connection.close()
    assert main(["report", str(copy.run)]) == 0
    out = words(capsys.readouterr().out)
    assert "STAMPED: seeds extended after data" in out
    assert "after 9 rows were there" in out
    assert "1 of 72 planned cells are not there." in out
    assert "Left out: seed 0, whose rows met different checkpoints" in out
    assert "noise floor 2.00 points" in out
    assert "δ lies below it at S = 0.5, 0.7, 0.8: nothing is concluded there" in out
    assert "δ = 0.5 below the noise floor of 2 points" in out


def test_rows_of_different_devices_pair_only_on_request(cell_row: Callable[..., CellRow]) -> None:
    rows = [
        cell_row(scorer=name, seed=seed, provenance={"device": "H100" if (name, seed) == ("chaos", 1) else "A100"})
        for name in ("magnitude", "chaos")
        for seed in (0, 1)
    ]
    kept, remarks = comparable(rows)
    assert {row.seed for row in kept} == {0}
    assert "seed 1, whose rows come from different devices (--across-devices pairs them)" in remarks[0]
    kept, remarks = comparable(rows, across_devices=True)
    assert {row.seed for row in kept} == {0, 1}
    assert "are paired, as asked" in remarks[0]


def test_when_settings_were_fixed() -> None:
    def plan(delta: float, created: str, before: int) -> PlanRow:
        return PlanRow("h", created, delta, 0.05, "magnitude", {}, [0], ["magnitude"], [0.5], before)

    assert when_fixed([]) == "unknown: the store holds no plan"
    assert when_fixed([plan(0.5, "one", 0), plan(0.5, "two", 9)]) == "one, before the first cell"
    assert when_fixed([plan(0.5, "one", 0), plan(0.3, "two", 9), plan(0.5, "three", 9)]) == "three, after 9 rows were there"


def test_csv_source_is_what_the_file_says(table: Path) -> None:
    source = read_source(table)
    info = source.origin.source
    assert (info.kind, source.title, source.planned, source.origin.stamps) == ("csv", "results.csv", None, ())
    assert source.stamps_under(Settings(delta=3.0)) == (), "nobody knows when a CSV's margin was fixed"
    assert len(info.identity) == 64
    assert source.frame["accuracy"].tolist()[:2] == [0.902, 0.896]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("own task.py:Net", "sics-run replicate --task 'own task.py:Net'"),
        ("tasks.py:Net", "sics-run replicate --task tasks.py:Net"),
        ("package.tasks:Net", "sics-run replicate --task package.tasks:Net"),
        ("notebook:Net", ""),
    ],
)
def test_the_command_of_a_task_of_ones_own_can_be_typed(name: str, command: str) -> None:
    assert replicate_command({"task": {"name": name}}) == command

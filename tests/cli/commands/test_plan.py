"""`sics-run plan`: the numbers of the statistics, in a table."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sics_cli.main import main


def numbers(out: str, label: str) -> list[str]:
    (line,) = [line for line in out.splitlines() if line.startswith(label)]
    return line[len(label) :].replace(" %", "%").split()


def words(text: str) -> str:
    return " ".join(text.split())


def test_published_powers_and_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    # Worked example H: paired TOST at n = 5 and δ/sd of .5, 1, 2; seeds for 80 %: 36, 11, 4.
    for sd, power, seeds in (("1", "2.0%", "36"), ("0.5", "29.4%", "11"), ("0.25", "95.0%", "4")):
        assert main(["plan", "--sd", sd, "--delta", "0.5", "--seeds", "5"]) == 0
        shown = numbers(capsys.readouterr().out, "given")
        assert shown[:3] == [sd, power, seeds]


def test_curve_marks_the_plan_and_names_the_resolution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--sd", "0.5", "--seeds", "7"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"(?m)^ +7 +[\d.]+ % +[\d.]+ % +0.0078 +this plan", out)
    assert re.search(r"(?m)^ +8 +63.5 %", out)
    assert "With 7 seeds the exact sign-flip test reaches p = 1/128 one-sided and 1/64 two-sided" in words(out)
    assert max(map(len, out.splitlines())) <= 80


def test_options_move_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for name, options in {
        "plain": [],
        "family": ["--family", "1"],
        "difference": ["--difference", "2"],
        "alpha": ["--alpha", "0.01"],
        "power": ["--power", "0.95"],
        "never": ["--difference", "0.4"],
    }.items():
        assert main(["plan", "--sd", "0.5", *options]) == 0
        found[name] = numbers(capsys.readouterr().out, "given")
    _, equal, seeds, escape, escape_seeds = found["plain"]
    assert float(found["family"][3][:-1]) > float(escape[:-1])
    assert float(found["difference"][3][:-1]) > float(escape[:-1])
    assert float(found["alpha"][1][:-1]) < float(equal[:-1])
    assert int(found["power"][2]) > int(seeds)
    assert int(found["power"][4]) > int(escape_seeds)
    assert found["never"][4] == "never", "below δ nothing escapes, with any number of seeds"


def test_no_plan_names_more_seeds_than_anybody_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    # By hand: δ/sd = .05 takes about (1.645 + 1.282)²/.0025 = 3 400 seeds for equivalence.
    assert main(["plan", "--sd", "10", "--delta", "0.5"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"(?m)^given +10 +0\.0 % +> 200 +1\.\d % +> 200$", out)
    assert "> 200: more than 200 seeds, the difference is too near δ, for its spread, to be settled by seeds." in words(out)
    assert main(["plan", "--sd", "0.5"]) == 0
    assert "more than 200" not in capsys.readouterr().out


def test_without_an_sd_several_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--delta", "1"]) == 0
    out = capsys.readouterr().out
    assert [numbers(out, f"{part} δ")[0] for part in ("0.25", "0.5", "1", "2")] == ["0.25", "0.5", "1", "2"]


def test_sd_from_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["seed,scorer,kappa,sparsity,accuracy"]
    for i, (one, two, control) in enumerate([(0.0, 0.0, 9.0), (2.0, 1.0, 0.0), (4.0, 2.0, 5.0)]):
        rows += [f"{i},magnitude,0,.7,.8", f"{i},a,1,.7,{0.8 + one / 100}", f"{i},b,2,.7,{0.8 + two / 100}"]
        rows += [f"{i},c,,.7,{0.8 + control / 100}"]
    path = tmp_path / "pilot.csv"
    path.write_text("\n".join(rows) + "\n")
    assert main(["plan", "--from", str(path)]) == 0
    out = capsys.readouterr().out
    # sd of a is 2, of b 1, of c 4.5, the median 2; c has no κ and is no control by name, so it counts as in a report.
    assert numbers(out, "S = 0.7")[0] == "2"
    assert "tested with 3 scorers" in words(out)
    assert "Plan for 3 seeds" in out
    assert main(["plan", "--from", str(path), "--reference", "a"]) == 0
    assert numbers(capsys.readouterr().out, "S = 0.7")[0] == "3.34", "b and c against a"


def test_from_a_run_takes_its_margin(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--from", str(finished.run), "--seeds", "10"]) == 0
    out = capsys.readouterr().out
    assert "Plan for 10 seeds at δ = 0.5 points, α = 0.05" in out
    assert len(re.findall(r"(?m)^S = 0\.[578] ", out)) == 3


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--sd", "0"], 2, "'--sd': '0' is not accepted: give accuracy points above 0"),
        (["--sd", "1", "--from", "x"], 2, "--sd and --from: give one of them"),
        (["--sd", "1", "--seeds", "2"], 2, "--seeds 2: is not accepted: give at least 3"),
        (["--power", "1"], 2, "'--power': '1' is not accepted: give a probability"),
        (["--difference", "inf"], 2, "'--difference': 'inf' is not accepted"),
        (["--reference", "x"], 2, "give --from, or leave it out"),
        (["--from", "none.csv"], 1, "none.csv: there is no such run or file"),
    ],
)
def test_bad_options_get_one_line(capsys: pytest.CaptureFixture[str], options: list[str], code: int, said: str) -> None:
    assert main(["plan", *options]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert said in shown.err


def test_a_pilot_without_spread_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.csv"
    path.write_text("seed,scorer,sparsity,accuracy\n0,magnitude,.5,.9\n0,a,.5,.8\n")
    assert main(["plan", "--from", str(path)]) == 1
    assert "has no sd to plan with: it takes two seeds" in capsys.readouterr().err
    assert main(["plan", "--from", str(path), "--reference", "b"]) == 2
    assert "--reference 'b': is not among the scorers: give a | magnitude" in capsys.readouterr().err


def test_it_imports_neither_torch_nor_pandas() -> None:
    code = "import sys; from sics_cli.main import main; c = main(['plan', '--sd', '1']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Plan for 5 seeds" in done.stdout
    modules = set(done.stderr.split())
    assert not {name.split(".")[0] for name in modules} & {"torch", "pandas", "sics_plugin", "statsmodels"}
    assert "scipy.stats" not in modules


def steps(out: str) -> list[str]:
    """The rows of "what to do next"."""
    return [
        line
        for line in out.splitlines()
        if re.search(r"(EQUIVALENT|NONINFERIOR|NONSUPERIOR|ESCAPES|DEGRADES) +\d+ +\d+ to", line)
    ]


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("run,method,density,val_acc,val_loss,dataset", ["--where", "dataset=x"]),
        (
            "run,method,density,a,b,dataset",
            ["--columns", "metric=a", "--where", "dataset=x", "--unit", "fraction", "--delta", ".004"],
        ),
        ("run,method,density,val_acc,val_loss,dataset", ["--metric", "val_loss", "--delta", ".01", "--where", "dataset=x"]),
        ("run,method,density,val_acc,val_loss,dataset", ["--reference", "dense", "--where", "dataset=x"]),
    ],
)
def test_a_plan_reads_a_table_as_a_report_does_and_has_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str, options: list[str]
) -> None:
    found = [head]
    for i, noise in enumerate((0.0, 1.4, -1.5, 1.3, -1.2)):
        for name, density, more in (("dense", 1.0, 0.1), ("magnitude", 0.3, 0.0), ("wanda", 0.3, 0.3), ("snip", 0.3, -0.2)):
            value = 0.8 + (more + noise * (name != "magnitude") * (1 + more)) / 100
            found += [f"{i},{name},{density},{value:.6f},{1 - value:.6f},x", f"{i},{name},{density},0.1,9,y"]
    path = tmp_path / "pilot.csv"
    path.write_text("\n".join(found) + "\n")
    assert main(["report", str(path), *options]) == 0
    report = capsys.readouterr()
    assert main(["plan", "--from", str(path), *options]) == 0
    plan = capsys.readouterr()
    assert len(steps(plan.out)) >= 2
    assert steps(plan.out) == steps(report.out)
    assert main(["report", str(path), *options, "--format", "md"]) == 0
    assert plan.err == capsys.readouterr().err, "and assumes the same"


def test_options_of_a_table_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    for option in (["--metric", "loss"], ["--where", "a=b"], ["--unpaired"], ["--higher-is-better"], ["--round-sparsity", ".01"]):
        assert main(["plan", *option]) == 2
        assert "says how --from is read; give --from, or leave it out" in capsys.readouterr().err


def test_a_plan_of_unpaired_seeds_or_of_a_report_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pilot.csv"
    path.write_text(
        "seed,scorer,sparsity,accuracy\n"
        + "".join(f"{i},{n},.7,.{8 + (n == 'a')}{i}\n" for i in range(3) for n in ("a", "magnitude"))
    )
    assert main(["plan", "--from", str(path), "--unpaired"]) == 1
    assert "planning is for paired seeds" in capsys.readouterr().err
    kept = tmp_path / "kept.json"
    assert main(["report", str(path), "-o", str(kept)]) == 0
    assert main(["plan", "--from", str(kept)]) == 2
    assert "is a report, which shows what to do next itself" in capsys.readouterr().err


def test_looks_beside_fixed_designs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--sd", "0.5", "--family", "1", "--max-seeds", "40"]) == 0
    out = capsys.readouterr().out
    assert "Looks at 5, 8, 12, 18, 27, 40 seeds, α = 0.05 over all of them" in words(out)
    equivalent, escape = (numbers(line, "given") for line in [x for x in out.splitlines() if x.startswith("given")][-2:])
    # An escape one sd beyond the margin: exactly 15, 38, 72, 95, 100 % by look, 12.1 seeds on average.
    assert escape == ["15%", "38%", "72%", "95%", "100%", "100%", "12.1"]
    assert equivalent[:2] == ["3%", "13%"]
    fixed = [numbers(line, "  fixed") for line in out.splitlines() if line.startswith("  fixed")]
    assert fixed[1][0] == "58%", "five seeds, fixed"
    assert "share settled" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_run_is_advised_on_looks_or_a_fixed_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["seed,scorer,sparsity,accuracy,kappa"]
    noise = (0.3, -0.1, 0.2, -0.4, 0.0, 0.1)
    for i, d in enumerate(noise):
        rows += [f"{i},magnitude,0.7,0.8,0", f"{i},chaos,0.7,{0.8 + d / 100},2", f"{i},bump,0.7,{0.8 + (1.1 + d * d) / 100},1"]
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(rows))
    assert main(["plan", "--from", str(table), "--max-seeds", "20"]) == 0
    quiet = words(capsys.readouterr().out)
    assert "share settled by 5 by 8 by 12 by 20" in quiet
    assert "A fixed design is advised: 5 seeds are expected to settle 80 % of the 2 lines" in quiet
    assert "a plan of looks takes fresh ones" in quiet
    wide = [row.split(",") for row in rows]
    table.write_text(
        "\n".join([rows[0], *(",".join([*row[:3], f"{0.8 + 6 * (float(row[3]) - 0.8)}", row[4]]) for row in wide[1:])])
    )
    assert main(["plan", "--from", str(table), "--max-seeds", "20"]) == 0
    assert "A plan of looks is advised: " in words(capsys.readouterr().out)


def test_many_looks_fit_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--sd", "1", "--max-seeds", "300"]) == 0
    out = capsys.readouterr().out
    assert "by 5 " in words(out)
    assert "by 300 seeds" in words(out)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("given", ["4", "1001", "8.5", "x"])
def test_a_maximum_that_no_plan_can_have_is_refused(capsys: pytest.CaptureFixture[str], given: str) -> None:
    assert main(["plan", "--sd", "0.5", "--max-seeds", given]) == 2
    assert "whole number from 5 to 1000" in words(capsys.readouterr().err)


@pytest.mark.usefixtures("analysed_once")
def test_a_finished_plan_of_looks_says_what_fresh_seeds_would_settle(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--from", "reference:digits-channel"]) == 0
    shown = capsys.readouterr().out
    assert main(["report", "reference:digits-channel"]) == 0
    command = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert shown.rstrip().splitlines()[-1] == command, "the command of the report, in a line of its own"
    assert command.strip().startswith("sics-run replicate --unit channel --until decided:")
    assert command.count("--first-seed") == 1, "the plan began at seed 1000, and fresh ones come after it"
    text = words(shown)
    assert "by so many fresh seeds" in text
    assert re.search(r"0\.6 fake 40 \S+ EQUIVALENT > 200", text), text
    assert "The last look is made and all of α is spent" in text
    assert "next look is next" not in text

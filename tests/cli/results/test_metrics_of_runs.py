"""Runs of a user's own metric: its unit and direction from the store to every word, and back from an exported file."""

import json
import re
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.results.source import read_run
from sics_cli.store.export import COLUMNS
from sics_cli.store.store import Store

#: Networks that were never trained, on numbers that nobody labelled: what is measured differs, and takes no time. Weights that
#: magnitude keeps lower the outputs, so that the others are above it.
TASKS = """\
import math
import torch
from torch import nn
from sics_cli import Metric


class Base:
    flip = 1.0

    def network(self, seed):
        return nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 4))

    def calibration(self, seed):
        return [(torch.randn(16, 8), torch.randint(4, (16,))) for _ in range(2)]

    def out(self, network):
        x = torch.linspace(-2, 2, 320).reshape(40, 8).sin()
        return network(x).double() - 3 * network[0].weight.abs().mean()


class Up(Base):
    metric = Metric("gain", "nats", delta=0.05)

    def evaluate(self, network, seed):
        return self.flip * (self.out(network)[:, 0] - 9 * network[0].weight.abs().mean())


class Down(Up):
    metric = Metric("cost", "nats", higher_is_better=False, delta=0.05)
    flip = -1.0


class Right(Base):
    metric = Metric("recall", "points", delta=5.0)

    def evaluate(self, network, seed):
        return self.out(network)[:, 0] > 0


class Wrong(Base):
    metric = Metric("error", "points", higher_is_better=False, delta=5.0)

    def evaluate(self, network, seed):
        return self.out(network)[:, 0] <= 0


class Of(Base):
    metric = Metric("perplexity", higher_is_better=False, delta=0.2, of=lambda x: math.exp(x.mean()))

    def evaluate(self, network, seed):
        return self.out(network)[:, 0]


class One(Base):
    metric = Metric("F1", "points", delta=2.0)

    def evaluate(self, network, seed):
        out = self.out(network)
        return {"F1": (out[:, 0] > 0).double().mean(), "loss": out.square().mean()}


class Accuracy(Base):
    metric = Metric("accuracy")

    def evaluate(self, network, seed):
        return self.out(network)[:, 0] > 0


class Mixed(Base):
    metric = Metric("share", "share", delta=0.05)

    def evaluate(self, network, seed):
        out = self.out(network)[:, 0]
        hits = (out > 0).double()
        dense = all((p != 0).all() for p in network.parameters())
        return hits if dense else hits.clamp(0.1, 0.9)
"""
NAMES = ("Up", "Down", "Right", "Wrong", "Of", "One", "Accuracy", "Mixed")


@pytest.fixture(scope="module")
def runs(make_cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run of four seeds of every task, in a folder of its own. Read them, do not change them."""
    cli = make_cli(tmp_path_factory.mktemp("metrics"))
    (cli.folder / "tasks.py").write_text(TASKS)
    for name in NAMES:
        done = cli.here(
            "replicate", "--task", f"tasks.py:{name}", "--seeds", "4", "--scorers", "magnitude,chaos,gradient",
            "--sparsities", "0.5,0.9", "--out", name, "--no-report",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return cli


def document(cli: Any, *arguments: str) -> dict[str, Any]:
    done = cli.here("report", *arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def words(text: str) -> str:
    return " ".join(text.split())


def lines(found: dict[str, Any]) -> dict[tuple[str, float], dict[str, Any]]:
    return {(line["scorer"], line["sparsity"]): line for line in found["lines"]}


# -- direction --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("up", "down"), [("Up", "Down"), ("Right", "Wrong")])
def test_a_metric_turned_round_gives_the_same_verdicts_mirrored(runs: Any, up: str, down: str) -> None:
    one, two = document(runs, up), document(runs, down)
    assert (one["metric"]["lower_is_better"], two["metric"]["lower_is_better"]) == (False, True)
    mirrored = lines(two)
    assert len(mirrored) == 4
    # Right and wrong on few examples lie on two adjacent counts, of which the exact tests decide nothing: their means differ.
    shown = "verdict" if up == "Up" else "mean"
    assert len({line[shown] for line in one["lines"]}) > 1, "lines that differ, or nothing is shown"
    for place, line in lines(one).items():
        other = mirrored[place]
        assert line["verdict"] == other["verdict"]
        assert other["mean"] == pytest.approx(-line["mean"], rel=1e-6)
        for name in ("ci95", "crossed", "ci_equivalence"):
            a, b = line[name], other[name]
            assert (b["low"], b["high"]) == (pytest.approx(-a["high"], rel=1e-5), pytest.approx(-a["low"], rel=1e-5)), name
        for name in ("p_equivalence", "p_superior", "p_noninferior", "p_degrade_adjusted"):
            assert other[name] == pytest.approx(line[name], rel=1e-4, abs=1e-12), name


def test_mcnemar_knows_which_way_is_better(runs: Any) -> None:
    right, wrong = document(runs, "Right"), document(runs, "Wrong")
    assert len(right["mcnemar"]) == len(wrong["mcnemar"]) == 4 * 2 * 2
    assert any(row["only_scorer"] != row["only_reference"] for row in right["mcnemar"])
    for a, b in zip(right["mcnemar"], wrong["mcnemar"], strict=True):
        counts = ("only_scorer", "only_reference", "total", "p")
        assert [a[name] for name in counts] == [b[name] for name in counts]
        assert b["difference"] == -a["difference"] == -100 * (a["only_scorer"] - a["only_reference"]) / 40


def test_counts_of_any_right_and_wrong_are_exact(runs: Any) -> None:
    """Differences are whole numbers of 40 examples, 2.5 points each, and the counts are those of the store."""
    found = document(runs, "Wrong")
    for line in found["lines"]:
        assert all(float(value / 2.5).is_integer() for value in line["differences"])
    with Store.open(runs.folder / "Wrong" / "run.sqlite", read_only=True) as store:
        kept = {(row.seed, row.scorer, row.sparsity): row.correct for row in store.cells()}
    assert {(cell["seed"], cell["scorer"], cell["sparsity"]): cell["correct"] for cell in found["cells"]} == kept


# -- numbers an example -----------------------------------------------------------------------------------------


def test_intervals_for_new_examples_by_hand(runs: Any) -> None:
    """Two-way analysis of variance of seeds × examples, from the numbers in the store."""
    from scipy import stats

    with Store.open(runs.folder / "Down" / "run.sqlite", read_only=True) as store:
        numbers = {
            (row.seed, row.scorer, row.sparsity): np.frombuffer(row.examples or b"", "<f4").astype(float) for row in store.cells()
        }
    table = np.array([numbers[seed, "chaos", 0.9] - numbers[seed, "magnitude", 0.9] for seed in range(4)])
    n, m = table.shape
    assert (n, m) == (4, 40)
    rows, columns, grand = table.mean(1), table.mean(0), table.mean()
    of_seeds = m * ((rows - grand) ** 2).sum() / (n - 1)
    of_examples = n * ((columns - grand) ** 2).sum() / (m - 1)
    rest = ((table - rows[:, None] - columns + grand) ** 2).sum() / ((n - 1) * (m - 1))
    se = (max(of_seeds + of_examples - rest, of_seeds, of_examples) / (n * m)) ** 0.5
    reach = stats.t.ppf(0.975, n - 1) * se
    crossed = lines(document(runs, "Down"))["chaos", 0.9]["crossed"]
    assert (crossed["low"], crossed["high"]) == (pytest.approx(grand - reach), pytest.approx(grand + reach))


@pytest.mark.parametrize(
    ("name", "crossed", "said"),
    [
        ("Down", True, "Of cost each example has a number, not right or wrong: McNemar's exact test does not apply."),
        ("Of", False, "The task makes perplexity of the numbers of all examples together, and not as their mean: there is no "
                      "interval for new examples, and no exact test on single ones."),
        ("One", False, "The task hands over one number of F1 a network: there is no interval for new examples, and no exact test "
                       "on single ones."),
        ("Mixed", True, "Of share each example has a number, not right or wrong"),
    ],
)  # fmt: skip
def test_which_tests_of_examples_apply_is_said(runs: Any, name: str, crossed: bool, said: str) -> None:
    found = document(runs, name)
    assert found["mcnemar"] == []
    assert [line["crossed"] is not None for line in found["lines"]] == [crossed] * 4
    assert said in " ".join(found["notes"])
    whole = document(runs, "Right")
    assert not re.search("does not apply|no interval", " ".join(whole["notes"])), "all apply, nothing to say"


# -- words ------------------------------------------------------------------------------------------------------


def read(runs: Any, name: str, kind: str) -> str:
    """What a reader sees of a report."""
    done = runs.here("report", name, "--format", kind)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"<style.*?</style>|<script.*?</script>", "", done.stdout, flags=re.DOTALL)
    return words(re.sub(r'(?:id|class|aria-\w+|href|clip-path)="[^"]*"', "", text))  # names of parts, which nobody reads


@pytest.mark.parametrize("kind", ["terminal", "html", "md", "latex", "json"])
@pytest.mark.parametrize("name", ["Accuracy", "Down", "One"])
def test_a_task_of_ones_own_has_examples_and_hears_nothing_of_the_paper(runs: Any, name: str, kind: str) -> None:
    text = re.sub(r'"\w+":', "", read(runs, name, kind))  # names of fields
    assert not re.search(r"\bimages?\b", text, re.IGNORECASE)
    assert not re.search(r"the paper|2605\.09345|Grey steps|as the paper has it", text)
    if name == "Accuracy" and kind != "json":
        assert re.search(r"new examples", text)


def test_figures_of_a_task_of_ones_own_are_without_the_paper(runs: Any, tmp_path: Path) -> None:
    done = runs.here("report", "Accuracy", "--figures", str(tmp_path))
    assert done.returncode == 0, done.stderr
    there = {path.stem for path in tmp_path.iterdir()}
    assert {"equivalence", "accuracy"} <= there
    assert "paper" not in there


@pytest.mark.parametrize("kind", ["terminal", "html", "md", "latex"])
@pytest.mark.parametrize("name", ["Down", "Of"])
def test_a_report_of_another_metric_speaks_of_no_accuracy_and_no_points(runs: Any, name: str, kind: str) -> None:
    text = read(runs, name, kind)
    assert not re.search(r"ccurac(?:y|ies)\b(?!-)", text)
    assert not re.search(r"\bpoints?\b(?! to\b| far\b)", re.sub(r"figure of points|A point beyond", "", text))
    assert "nats" in text if name == "Down" else "perplexity" in text
    if name == "Down" and kind != "latex":  # which has no answers
        assert "so a two-sided interval may end a little higher" in text
        assert "1 of 1 escapes keep an interval below 0" in text


def test_the_noise_floor_of_the_page_has_the_decimals_of_its_margin(runs: Any) -> None:
    foot = re.search(r"<tfoot>.*?</tfoot>", runs.here("report", "Down", "--format", "html").stdout)
    assert foot is not None
    assert [cell for cell in re.findall(r"<td[^>]*>([^<]*)</td>", foot[0]) if cell] == ["0.000", "0.000"]


def test_points_of_another_metric_are_points(runs: Any) -> None:
    text = words(runs.here("report", "One").stdout)
    assert "δ = 2 points, α = 0.05" in text
    assert "F1" in text
    assert "ccuracy" not in text


def test_an_accuracy_of_ones_own_is_an_accuracy(runs: Any) -> None:
    found = document(runs, "Accuracy")
    assert found["metric"]["unit"] == "accuracy points"
    assert found["settings"]["delta"] == 0.5
    assert len(found["mcnemar"]) == 16
    assert found["metric"]["example"] == "example"
    assert found["claims"] == [], "the paper speaks of images"


def test_the_plan_has_the_margin_and_no_stamp(runs: Any) -> None:
    settings = document(runs, "Down")["settings"]
    assert (settings["delta"], settings["stamps"]) == (0.05, [])
    moved = document(runs, "Down", "--delta", "0.3")["settings"]
    assert (moved["delta"], moved["stamps"]) == (0.3, ["plan changed after data"])


def test_the_closing_tables_have_unit_and_direction(runs: Any) -> None:
    done = runs.here(
        "replicate", "--task", "tasks.py:Down", "--seeds", "4", "--scorers", "magnitude,chaos,gradient",
        "--sparsities", "0.5,0.9", "--out", "Down", "--no-report",
    )  # fmt: skip
    text = words(done.stdout)
    assert "nats above magnitude at the same seed, less is better; p up: below −0.05" in text
    assert "verdicts at δ = 0.05 nats" in text
    assert "noise floor 0.000 nats" in text
    assert "paper" not in text


# -- the loss beside it -----------------------------------------------------------------------------------------


def test_a_loss_that_was_handed_over_is_looked_at_by_its_name(runs: Any) -> None:
    done = runs.here("report", "One", "--metric", "loss")
    assert done.returncode == 2
    assert "--delta: is needed, in loss" in words(done.stderr), "the plan's margin is in points"
    found = document(runs, "One", "--metric", "loss", "--delta", "0.1")
    assert (found["metric"]["name"], found["metric"]["lower_is_better"]) == ("loss", True)
    assert found["settings"]["stamps"] == ["plan changed after data"]
    with Store.open(runs.folder / "One" / "run.sqlite", read_only=True) as store:
        kept = {(row.seed, row.scorer, row.sparsity): row.loss for row in store.cells()}
    assert {(cell["seed"], cell["scorer"], cell["sparsity"]): cell["accuracy"] for cell in found["cells"]} == kept


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metric", "loss", "--delta", "1"], '--metric loss: task tasks.py:Down, saliency gradient, cpu measured none beside '
                                                'its cost: evaluate hands one over as {"cost": ..., "loss": ...}'),
        (["--metric", "accuracy"], "--metric accuracy: is not what a run measures: give cost or loss"),
        (["--unit", "points"], "--unit points: cost is in nats, by what the run measured: leave the option out"),
        (["--higher-is-better"], "--higher-is-better: less cost is better, by what the run measured: leave the option out"),
    ],
)  # fmt: skip
def test_what_a_run_did_not_measure_is_refused(runs: Any, options: list[str], said: str) -> None:
    done = runs.here("report", "Down", *options)
    assert done.returncode == 2
    assert said in words(done.stderr)
    assert document(runs, "Down", "--metric", "cost") == document(runs, "Down")
    assert document(runs, "Down", "--unit", "nats", "--lower-is-better") == document(runs, "Down"), "what it says of itself"


def test_a_share_may_be_told_in_any_of_its_units_by_the_run_and_by_its_file(runs: Any, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    runs.here("export", "Right", "-o", str(out))
    for source in ("Right", str(out)):
        points = document(runs, source, "--delta", "4")
        for unit, delta, said in (
            ("fraction", "0.04", "δ = 0.04 is in the fraction: 4 points"), ("%", "4", "δ = 4 is in percent: 4 points"),
        ):  # fmt: skip
            told = document(runs, source, "--unit", unit, "--delta", delta)
            assert told["lines"] == points["lines"]
            assert told["settings"]["delta"] == 4.0
            assert any(said in note for note in [*told["notes"], *runs.here("report", source, "--unit", unit, "--delta", delta,
                       "-o", str(tmp_path / "x.json")).stderr.splitlines()])  # fmt: skip
        done = runs.here("report", source, "--unit", "nats", "--delta", "4")
        assert done.returncode == 2
        assert "--unit nats: recall is in points, by" in words(done.stderr)
        assert "give points, percent or fraction" in words(done.stderr)


def test_a_unit_called_share_is_no_fraction_of_points(runs: Any, tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    runs.here("export", "Mixed", "-o", str(out))
    for source in ("Mixed", str(out)):
        found = document(runs, source, "--unit", "share", "--delta", "0.03")
        assert found["settings"]["delta"] == 0.03
        assert found["lines"] == document(runs, source, "--delta", "0.03")["lines"]


# -- export and back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_says_what_its_run_says(runs: Any, tmp_path: Path, name: str, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    out = tmp_path / f"rows.{kind}"
    assert runs.here("export", name, "-o", str(out)).returncode == 0
    run = document(runs, name)
    margin = [] if name == "Accuracy" else ["--delta", str(run["settings"]["delta"])]
    file = document(runs, str(out), *margin)
    assert file["metric"] == run["metric"]
    if name == "Of":  # whether numbers are a mean is found by their mean
        assert all(line["crossed"] is None for line in file["lines"])
    assert file["lines"] == run["lines"]
    assert file["mcnemar"] == run["mcnemar"]
    assert file["cells"] == run["cells"]


def test_a_file_of_another_metric_has_no_margin_by_default(runs: Any, tmp_path: Path) -> None:
    for name, unit in (("Down", "nats"), ("One", "points")):
        out = tmp_path / f"{name}.csv"
        runs.here("export", name, "-o", str(out))
        done = runs.here("report", str(out))
        assert done.returncode == 2
        assert f"--delta: is needed, in {unit}: half a point is a default for accuracies alone" in words(done.stderr)
        done = runs.here("report", str(out), "--delta", "1", "--unit", "percent")
        if name == "Down":
            said = "--unit percent: cost is in nats, by what the rows say of themselves: leave the option out"
            assert said in words(done.stderr)
        else:
            assert done.returncode == 0, "F1 is a share"


def exported(cli: Any, run: str, out: Path) -> list[list[str]]:
    assert cli.here("export", run, "-o", str(out)).returncode == 0
    return [line.split(",") for line in out.read_text().splitlines()[:2]]


def test_the_columns_of_a_users_task(runs: Any, tmp_path: Path) -> None:
    heading, first = exported(runs, "Down", tmp_path / "down.csv")
    at = COLUMNS.index("accuracy") + 1
    assert heading == [*COLUMNS[:at], "metric", "value", "higher_is_better", "metric_unit", "examples", *COLUMNS[at:]]
    row = dict(zip(heading, first, strict=False))
    assert (row["metric"], row["higher_is_better"], row["metric_unit"], row["accuracy"]) == ("cost", "False", "nats", "")
    numbers = struct.unpack("<40f", bytes.fromhex(row["examples"]))
    assert sum(numbers) / 40 == pytest.approx(float(row["value"]), rel=1e-6)
    plain = exported(runs, "One", tmp_path / "one.csv")[0]
    assert "metric_unit" in plain
    assert "examples" not in plain, "there are none"


def test_the_columns_of_the_presets_stay(finished: Any, tmp_path: Path) -> None:
    assert exported(finished, "run", tmp_path / "run.csv")[0] == list(COLUMNS)


def test_rows_of_two_metrics_are_no_table_until_one_is_chosen(runs: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    parts = []
    for name in ("Up", "Down"):
        runs.here("export", name, "-o", str(tmp_path / f"{name}.csv"))
        parts.append(pandas.read_csv(tmp_path / f"{name}.csv"))
    pandas.concat(parts).to_csv(tmp_path / "both.csv", index=False)
    done = runs.here("report", str(tmp_path / "both.csv"), "--delta", "0.05")
    assert "of several metrics, units or directions (cost nats False; gain nats True): " in words(done.stderr).replace(
        "cost nats False, gain", "cost nats False; gain"
    )
    chosen = document(runs, str(tmp_path / "both.csv"), "--delta", "0.05", "--metric", "cost")
    assert chosen["lines"] == document(runs, "Down")["lines"]


def test_the_frame_of_a_run_is_analysed_as_the_run_is(runs: Any) -> None:
    from sics_analysis.study.analyse import analyse
    from sics_cli import Run

    run = Run(runs.folder / "Down")
    found, own = analyse(run.frame(), delta=0.05), run.analyse()
    assert found.metric == own.metric
    assert found.to_frame()["verdict"].tolist() == own.to_frame()["verdict"].tolist()
    assert found.to_frame()["difference"].tolist() == own.to_frame()["difference"].tolist()


# -- compare, map, status, plan ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def layers(runs: Any) -> Any:
    """The same tasks, pruned layer by layer."""
    for name in ("Up", "Down", "Wrong"):
        done = runs.here(
            "replicate", "--task", f"tasks.py:{name}", "--seeds", "4", "--scorers", "magnitude,chaos", "--sparsities", "0.9",
            "--pool", "layer", "--out", f"{name}-layer", "--no-report",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return runs


def compared(cli: Any, a: str, b: str) -> dict[str, list[str]]:
    done = cli.here("compare", a, b)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("magnitude ", "chaos "))]
    return {row[0]: [part.strip("[],") for part in row[1:]] for row in rows}


def test_compare_has_the_metrics_direction(layers: Any) -> None:
    up, down = compared(layers, "Up", "Up-layer"), compared(layers, "Down", "Down-layer")
    turned = str.maketrans("+−", "−+")
    assert up.keys() == down.keys() == {"magnitude", "chaos"}
    for name, (n, mean, low, high, p, above, below, *verdict) in up.items():
        assert down[name][:5] == [n, mean.translate(turned), high.translate(turned), low.translate(turned), p]
        assert down[name][5:7] == [below, above]
        assert down[name][7:] == verdict
    text = words(layers.here("compare", "Down", "Down-layer").stdout)
    assert "δ = 0.05 nats, α = 0.05, as both plans have them" in text
    assert "A − B in nats at the same seed; less is better, so that ESCAPES is A below B." in text
    assert "What differs: pool global → layer." in text


def test_compare_by_hand(layers: Any) -> None:
    """The mean of A − B of an error is its own, in points."""
    means = {}
    for name in ("Wrong", "Wrong-layer"):
        with Store.open(layers.folder / name / "run.sqlite", read_only=True) as store:
            means[name] = [row.correct or 0 for row in store.cells() if (row.scorer, row.sparsity) == ("chaos", 0.9)]
    by_hand = 2.5 * (sum(means["Wrong"]) - sum(means["Wrong-layer"])) / 4
    shown = compared(layers, "Wrong", "Wrong-layer")["chaos"][1].replace("−", "-")
    assert float(shown) == pytest.approx(by_hand, abs=0.006)


def test_runs_of_other_tasks_do_not_pair(layers: Any, finished: Any) -> None:
    done = layers.here("compare", "Up", "Down")
    assert done.returncode == 2
    assert "are of different tasks (task.metric.higher_is_better True → False; task.metric.name gain → cost" in words(done.stderr)
    done = layers.here("compare", "Accuracy", str(finished.run))
    assert "are of different tasks (task tasks.py:Accuracy; vit on digits)" in words(done.stderr)
    done = layers.here("map", "Up", "Wrong")
    assert done.returncode == 2
    assert "Wrong: measures error in points, and Up gain in nats: one map takes one metric" in words(done.stderr)


def test_the_map_is_turned_as_the_metric_is(layers: Any, tmp_path: Path) -> None:
    from sics_cli.results.plateau_map import map_runs

    up, down = (map_runs([layers.folder / name, layers.folder / f"{name}-layer"], None, None) for name in ("Up", "Down"))
    assert len(up.points) == len(down.points) == 5
    for a, b in zip(up.points, down.points, strict=True):
        assert (a.verdict, a.overlap) == (b.verdict, b.overlap)
        assert a.feature == pytest.approx(b.feature), "better is up in both"
        assert b.total is None or up.read(a.total) == pytest.approx(-(down.read(b.total) or 0.0))
    said = words(layers.here("map", "Down", "Down-layer", "-o", str(tmp_path / "map.pdf")).stdout)
    assert "by cost:" in said
    assert "feature: nats against magnitude" in said
    assert "Less cost is better" in said
    assert "left it for the better" in said
    assert "ccuracy" not in said
    assert (tmp_path / "map.pdf").stat().st_size > 1000


def test_status_tells_task_metric_and_dense_result(runs: Any) -> None:
    text = words(runs.here("status", "Down").stdout)
    assert re.search(r"task tasks\.py:Down \([0-9a-f]{12}\); cost in nats, lower is better; saliency gradient", text)
    assert "delta 0.05 nats" in text
    assert re.search(r"seed 0 dense -?\d\S* nats, made in 0:00, [0-9a-f]{12}", text)
    assert "validation" not in text
    assert re.search(r"seed 0 dense \d+\.\d\d %, made in", words(runs.here("status", "One").stdout))


def test_plan_takes_margin_unit_and_direction_from_the_run(runs: Any) -> None:
    up, down = (words(runs.here("plan", "--from", name).stdout) for name in ("Up", "Down"))
    assert "δ = 0.05 nats, α = 0.05" in down
    assert "true difference −0.1 below −0.05" in down
    assert "true difference +0.1 above +0.05" in up
    assert "points" not in up + down


# -- networks that were given -----------------------------------------------------------------------------------


def test_one_file_a_seed_is_named_as_such(finished: Any, cli: Any) -> None:
    """Networks of the finished run, as if trained elsewhere: nothing was trained here, and no more seeds can be asked for."""
    config = "\n".join(line for line in (cli.folder / "tiny.toml").read_text().splitlines() if not line.startswith("seeds"))
    (cli.folder / "given.toml").write_text(config)
    done = cli.here(
        "replicate", "--config", "given.toml", "--checkpoint", f"{finished.run}/checkpoints/*.safetensors", "--scorers",
        "magnitude,chaos", "--out", "given", "--no-report",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = words(cli.here("status", "given").stdout)
    assert "given weights, one file a seed, not trained" in text
    assert "trained in" not in text
    found = document(cli, "given")
    assert "the network, one file a seed, calibration batches, draws of random scorers" in found["source"]["varied"]
    assert not found["source"]["command"], "more seeds are more files"
    assert {fact["label"]: fact["value"] for fact in found["provenance"]}["training"].startswith(
        "none: weights as they were given"
    )
    both = words(cli.here("compare", str(finished.run), "given").stdout)
    assert "start.kind None → checkpoints" in both
    assert "seed_varies" not in both


def test_a_run_without_a_plan_asks_for_the_margin(runs: Any, tmp_path: Path) -> None:
    shutil.copytree(runs.folder / "Down", tmp_path / "bare")
    with sqlite3.connect(tmp_path / "bare" / "run.sqlite") as connection:
        connection.execute("DELETE FROM plans")
    connection.close()
    source = read_run(tmp_path / "bare")
    with pytest.raises(ConfigError, match="--delta: is needed, in nats"):
        source.settings(None, None, None)
    assert source.settings(0.1, None, None).delta == 0.1

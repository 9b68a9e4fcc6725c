"""Layouts that public tools and papers keep their results in, re-typed in small: each opens through the command line as it is.

All but the last two hold the same numbers: magnitude by seed, wanda one point above it and random four below, on average.
"""

import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from sics_cli.main import main

PAGE = Path(__file__).parents[3] / "docs" / "table-rules.md"
BASE = (90.2, 89.6, 90.1, 89.8, 90.5)  # percent, magnitude
#: By hand: wanda has mean +1.00, random −4.10.
ADDED = {"magnitude": (0.0,) * 5, "wanda": (1.1, 0.9, 1.2, 0.8, 1.0), "random": (-4.0, -4.3, -3.9, -4.1, -4.2)}
VERDICTS = {"wanda": (1.0, "ESCAPES"), "random": (-4.1, "DEGRADES")}
SAME = {"magnitude": "Magnitude", "wanda": "Wanda", "random": "Random"}


def cells() -> Iterator[tuple[int, str, float]]:
    """Seed, scorer, accuracy in percent."""
    for name, added in ADDED.items():
        for seed, points in enumerate(added):
            yield seed, name, BASE[seed] + points


def lines(head: str, row: Callable[[int, str, float], str]) -> bytes:
    return "\n".join([head, *(row(*cell) for cell in cells())]).encode() + b"\n"


def wide_by_scorer() -> bytes:
    values = {name: [BASE[i] + added[i] for i in range(5)] for name, added in ADDED.items()}
    rows = [f"{i + 1}," + ",".join(f"{values[name][i]:.1f}" for name in ADDED) for i in range(5)]
    return "\n".join(["Seed,Magnitude,Wanda,Random", *rows]).encode()


def wide_by_seed() -> bytes:
    rows = []
    for name, added in ADDED.items():
        own = [f"{(BASE[i] + added[i]) / 100:.3f}" for i in range(5)]
        rows.append(f"{name},0.7,{','.join(own)},{sum(map(float, own)) / 5:.4f},0.003")
    return "\n".join(["method,sparsity,seed 1,seed 2,seed 3,seed 4,seed 5,mean,std", *rows]).encode()


def parquet() -> bytes:
    pytest.importorskip("pyarrow")
    out = io.BytesIO()
    rows = [{"seed": seed, "pruner": name, "sparsity": 0.7, "test_acc": value / 100} for seed, name, value in cells()]
    pd.DataFrame(rows).set_index(["seed", "pruner"]).reset_index().to_parquet(out)
    return out.getvalue()


def excel() -> bytes:
    pytest.importorskip("openpyxl")
    out = io.BytesIO()
    rows = [{"Run": seed, "Method": name, "Sparsity": 0.7, "Accuracy": value / 100} for seed, name, value in cells()]
    with pd.ExcelWriter(out) as book:
        pd.DataFrame(rows).to_excel(book, sheet_name="results", startrow=2, index=False)
    return out.getvalue()


def nested(seed: int, name: str, value: float) -> str:
    scores = {"arc_easy": {"acc": round(value / 100, 4), "acc_stderr": 0.009}}
    return json.dumps({"config": {"method": name, "seed": seed, "sparsity": 0.7}, "results": scores})


def logger_rows() -> bytes:
    rows = ["replicate,strategy,sparsity,metric,value"]
    for seed, name, value in cells():
        rows += [f"{seed},{name},0.7,test_loss,{2 - value / 100:.4f}", f"{seed},{name},0.7,test_accuracy,{value / 100:.4f}"]
    return "\n".join(rows).encode()


def by_epoch() -> bytes:
    rows = ["method,seed,sparsity,epoch,accuracy,loss,val_accuracy,val_loss"]
    for seed, name, value in cells():
        rows += [f"{name},{seed},0.7,{epoch},0.99,0.1,{value / 100 - (9 - epoch) / 10:.4f},0.4" for epoch in (8, 9)]
    return "\n".join(rows).encode()


def episodes() -> bytes:
    """By hand: mean return of a seed is 200 + seed for magnitude, 20 more for wanda."""
    rows = ["algo,seed,episode,return"]
    for name, more in (("magnitude", 0), ("wanda", 20)):
        for seed in range(5):
            rows += [
                f"{name},{seed},{e},{200 + seed + more + wobble + 0.1 * seed * (more > 0)}" for e, wobble in ((1, -30), (2, 30))
            ]
    return "\n".join(rows).encode()


def perplexities() -> bytes:
    """By hand: wanda is 0.40 below magnitude at every seed but for ±0.02."""
    rows = ["method\tseed\tsparsity\twikitext_ppl"]
    for i, noise in enumerate((0.0, 0.02, -0.02, 0.01, -0.01)):
        rows += [f"magnitude\t{i}\t0.5\t{7.2 + 0.1 * i:.2f}", f"wanda\t{i}\t0.5\t{7.2 + 0.1 * i - 0.4 + noise:.2f}"]
    return "\n".join(rows).encode()


def titled_excel() -> bytes:
    """Two rows of titles, with two cells each, above the heading."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Results", "", "by J."], ["Setup", None, "Result"], ["Seed", "Method", "Sparsity", "Accuracy"]):
        book.active.append(row)
    for seed, name, value in cells():
        book.active.append([seed, name, 0.7, value / 100])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def markdown() -> bytes:
    head = "Our runs.\n\n| Seed | Method | Sparsity | Accuracy |\n|---:|:---|---:|---:|"
    return lines(head, lambda s, n, v: f"| {s} | {f'**{n}**' if n == 'wanda' and s else n} | 0.7 | {v:.1f} |")


def numbered() -> bytes:
    rows = [f'"{i}" {s} "{n}" 0.7 {v / 100:.4f}' for i, (s, n, v) in enumerate(cells(), start=1)]
    return "\n".join(['"seed" "method" "sparsity" "accuracy"', *rows]).encode()


def objects() -> bytes:
    rows = [{"seed": s, "method": n, "sparsity": 0.7, "results": {"acc,none": round(v / 100, 4)}} for s, n, v in cells()]
    return json.dumps(rows, indent=1).encode()


@dataclass(frozen=True)
class Layout:
    """One layout: what it is called in docs/table-rules.md, its file, the options it takes, what is assumed."""

    name: str
    file: str
    content: Callable[[], bytes]
    assumed: tuple[str, ...]
    options: tuple[str, ...] = ()
    verdicts: dict[str, tuple[float, str]] | None = None


LAYOUTS = (
    Layout(
        "ShrinkBench results.csv",
        "results.csv",
        lambda: lines(
            "dataset,model,strategy,compression,seed,size,real_compression,pre_acc1,post_acc1,post_acc5",
            lambda seed, name, value: f"CIFAR10,resnet20,{name},4,{seed},272474,3.998,0.921,{value / 100:.4f},0.997",
        ),
        (
            "column 'strategy' is the scorer",
            "column 'compression' is the sparsity",
            "column 'post_acc1' is the metric",
            "'compression' is a compression ratio c: sparsity = 1 − 1/c",
        ),
    ),
    Layout(
        "Logger lines, a row a metric",
        "logger.csv",
        logger_rows,
        (
            "rows whose metric is 'test_accuracy': 15 of 30",
            "column 'replicate' is the seed",
            "column 'strategy' is the scorer",
        ),
    ),
    Layout(
        "Weights & Biases export",
        "wandb_export.csv",
        lambda: lines(
            '"Name","State","Created","method","seed","sparsity","val_acc","val_loss"',
            lambda seed, name, value: (
                f'"{name}-{seed}","finished","2025-01-0{seed + 1}T10:00:00Z","{name}","{seed}","0.7","{value / 100:.4f}","0.3"'
            ),
        ),
        ("column 'method' is the scorer", "column 'val_acc' is the metric; --metric val_loss takes another"),
    ),
    Layout(
        "Hydra multirun summary",
        "summary.tsv",
        lambda: lines(
            "job\toverrides.seed\toverrides.pruner\toverrides.amount\ttest/acc",
            lambda seed, name, value: f"{seed}\t{seed}\t{name}\t0.7\t{value / 100:.4f}",
        ),
        (
            "fields are separated by tabs",
            "column 'overrides.seed' is the seed",
            "column 'overrides.pruner' is the scorer",
            "column 'overrides.amount' is the sparsity",
            "column 'test/acc' is the metric",
        ),
    ),
    Layout(
        "Evaluation harness, JSON lines",
        "results.jsonl",
        lambda: "\n".join(nested(*cell) for cell in cells()).encode(),
        (
            "column 'config.seed' is the seed",
            "column 'config.method' is the scorer",
            "column 'config.sparsity' is the sparsity",
            "column 'results.arc_easy.acc' is the metric",
        ),
    ),
    Layout(
        "Keras CSVLogger, a row an epoch",
        "log.csv",
        by_epoch,
        ("rows where epoch is 9: 15 of 30", "column 'method' is the scorer"),
        ("--where", "epoch=9", "--columns", "metric=val_accuracy"),
    ),
    Layout(
        "A paper's table, a column a method",
        "table2.csv",
        wide_by_scorer,
        (
            "column 'Seed' is the seed",
            "columns Magnitude, Wanda, Random are scorers, their cells the accuracy",
            "no column says the sparsity: all rows are one pool",
            "values are in percent",
        ),
        ("--reference", "Magnitude"),
        {SAME[name]: found for name, found in VERDICTS.items()},
    ),
    Layout(
        "A column a seed, with mean and std",
        "seeds.csv",
        wide_by_seed,
        (
            "column 'method' is the scorer",
            "columns seed 1, seed 2, seed 3, seed 4, seed 5 are seeds, their cells the accuracy",
            "column mean, std is a summary of the others, and left out",
            "values are accuracies, as fractions",
        ),
    ),
    Layout(
        "Excel, semicolons and decimal commas",
        "Mappe1.csv",
        lambda: (
            b"\xef\xbb\xbf"
            + lines("seed;scorer;sparsity;accuracy", lambda s, name, v: f"{s};{name};0,7;{v / 100:.4f}".replace(".", ","))
        ),
        ("fields are separated by semicolons", "decimals follow a comma"),
    ),
    Layout(
        "Excel, Unicode text",
        "Mappe1.txt",
        lambda: lines("run\tmethod\tsparsity\tTop-1", lambda s, n, v: f"{s}\t{n}\t0.7\t{v:.1f}").decode().encode("utf-16"),
        (
            "fields are separated by tabs",
            "column 'run' is the seed",
            "column 'method' is the scorer",
            "column 'Top-1' is the metric",
            "'Top-1' is in percent",
        ),
    ),
    Layout("pandas, Parquet", "results.parquet", parquet, ("column 'pruner' is the scorer", "column 'test_acc' is the metric")),
    Layout(
        "Excel workbook",
        "results.xlsx",
        excel,
        (
            "column 'Run' is the seed",
            "column 'Method' is the scorer",
            "column 'Sparsity' is the sparsity",
            "column 'Accuracy' is the metric",
        ),
    ),
    Layout(
        "Excel workbook, titles above",
        "titled.xlsx",
        titled_excel,
        (
            "column 'Seed' is the seed",
            "column 'Method' is the scorer",
            "column 'Sparsity' is the sparsity",
            "column 'Accuracy' is the metric",
        ),
    ),
    Layout(
        "Markdown",
        "table.md",
        markdown,
        (
            "the rows are a Markdown table, and a line beside it is left out",
            "column 'Seed' is the seed",
            "column 'Method' is the scorer",
            "column 'Sparsity' is the sparsity",
            "column 'Accuracy' is the metric",
            "'Accuracy' is in percent",
        ),
    ),
    Layout(
        "R, write.table",
        "table.txt",
        numbered,
        (
            "fields are separated by spaces",
            "the first field of each row is its number, which the heading leaves out",
            "column 'method' is the scorer",
        ),
    ),
    Layout(
        "JSON, a list of objects",
        "results.json",
        objects,
        ("column 'method' is the scorer", "column 'results.acc,none' is the metric"),
    ),
    Layout(
        "A sweep over densities, gzip",
        "sweep.csv.gz",
        lambda: gzip.compress(
            lines("trial,criterion,keep_ratio,top1", lambda s, name, v: f"{s},{name},0.3,{v / 100:.4f}"), mtime=0
        ),
        (
            "column 'trial' is the seed",
            "column 'criterion' is the scorer",
            "column 'keep_ratio' is the sparsity",
            "column 'top1' is the metric",
            "'keep_ratio' is what remains: sparsity = 1 − keep_ratio",
        ),
    ),
    Layout(
        "Percent signs and comments",
        "percent.csv",
        lambda: (
            b"# ResNet-50, one-shot\n"
            + lines("seed | method | sparsity | accuracy", lambda s, n, v: f"{s} | {n} | 70 % | {v:.1f} %")
        ),
        (
            "a line that begins with # is a comment",
            "fields are separated by bars",
            "column 'method' is the scorer",
            "'sparsity' is in percent",
            "'accuracy' is in percent",
        ),
    ),
    Layout(
        "MLflow runs, sparsity as achieved",
        "runs.csv",
        lambda: lines(
            "run_uuid,params.seed,params.pruner,metrics.sparsity,metrics.val_acc",
            lambda s, name, v: f"a{s}f,{s},{name},{0.700000 + s * 1e-6 + (name == 'wanda') * 2e-6:.6f},{v / 100:.4f}",
        ),
        (
            "column 'params.seed' is the seed",
            "column 'params.pruner' is the scorer",
            "column 'metrics.sparsity' is the sparsity",
            "column 'metrics.val_acc' is the metric",
            "sparsities 0.7 to 0.700006 (7) are one target, 0.7: they lie within 0.001 of each other",
        ),
    ),
    Layout(
        "Reinforcement learning, a row an episode",
        "returns.csv",
        episodes,
        (
            "column 'algo' is the scorer",
            "no column says the sparsity: all rows are one pool",
            "more return is better (--lower-is-better says otherwise)",
            "rows of one seed are averaged over episode first: 2 each",
        ),
        ("--metric", "return", "--repeats", "episode", "--delta", "5"),
        {"wanda": (20.2, "ESCAPES")},
    ),
    Layout(
        "Perplexities, where less is better",
        "ppl.tsv",
        perplexities,
        (
            "fields are separated by tabs",
            "column 'method' is the scorer",
            "less wikitext_ppl is better (--higher-is-better says otherwise)",
        ),
        ("--metric", "wikitext_ppl", "--delta", "0.1"),
        {"wanda": (-0.4, "ESCAPES")},
    ),
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_opens_with_its_assumptions_and_its_numbers(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / layout.file
    path.write_bytes(layout.content())
    kept = tmp_path / "kept.json"
    assert main(["report", str(path), *layout.options, "-o", str(kept)]) == 0, capsys.readouterr().err
    said = [line.removeprefix("sics-run: assumed: ") for line in capsys.readouterr().err.splitlines()[:-1]]
    assert tuple(said) == layout.assumed
    document = json.loads(kept.read_text())
    assert [note for note in document["notes"] if note.startswith("Assumed: ")] == [f"Assumed: {text}." for text in said]
    assert "assumed" not in {fact["label"] for fact in document["provenance"]}, "said once"
    found = {line["scorer"]: (round(line["mean"], 6), line["verdict"]) for line in document["lines"]}
    assert found == (layout.verdicts or VERDICTS)
    assert {line["n"] for line in document["lines"]} == {5}
    if layout.verdicts is None:
        each = {line["scorer"]: tuple(round(d, 6) for d in line["differences"]) for line in document["lines"]}
        assert each == {name: ADDED[name] for name in VERDICTS}, "seed by seed"
        asked = 0.75 if "compression" in layout.content().decode(errors="ignore")[:60] else 0.7
        assert {line["sparsity"] for line in document["lines"]} == {asked}
    assert not document["claims"], "rows that know no κ hear nothing of the paper's claims"


def frame() -> pd.DataFrame:
    return pd.DataFrame([{"seed": s, "method": n, "sparsity": 0.7, "accuracy": round(v / 100, 4)} for s, n, v in cells()])


@pytest.mark.parametrize(
    "content",
    [frame().to_json(), frame().to_json(orient="split"), frame().to_json(orient="records", lines=True)],
    ids=["columns", "split", "lines"],
)
def test_what_pandas_writes_as_json_is_rows(content: str, tmp_path: Path) -> None:
    path, kept = tmp_path / "table.json", tmp_path / "kept.json"
    path.write_text(content)
    assert main(["report", str(path), "-o", str(kept)]) == 0
    found = {line["scorer"]: (round(line["mean"], 6), line["verdict"]) for line in json.loads(kept.read_text())["lines"]}
    assert found == VERDICTS
    assert main(["report", str(kept), "-o", str(tmp_path / "again.md")]) == 0, "a kept report is no table"


def by_seed_and_scorer() -> bytes:
    wide = frame().assign(column=lambda rows: rows["method"] + "_seed" + rows["seed"].astype(str))
    return wide.pivot_table(index="sparsity", columns="column", values="accuracy").to_csv().encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (by_seed_and_scorer(), "columns such as 'magnitude_seed0' may tell both scorer and seed: write a row an evaluation"),
        (b"seed,method,0.5,0.9\n0,wanda,.9,.8", "columns 0.5, 0.9 may be sparsities: write a row an evaluation"),
        (frame().pivot_table(index="seed", columns=["method", "sparsity"], values="accuracy").to_csv().encode(),
            "has headings in several rows, as columns of a pandas MultiIndex are written"),
        (frame().groupby(["method", "sparsity"]).agg({"accuracy": ["mean", "std"]}).to_csv().encode(),
            "has headings in several rows"),
        (frame().groupby("method")["accuracy"].agg(["mean", "std"]).to_csv().encode(), "means say nothing of single seeds"),
        (b"Wall time,Step,Value\n1700000000.1,1,0.9", "a curve of TensorBoard says neither seed nor scorer"),
        (b'"Step","wanda - acc","wanda - acc__MIN","wanda - acc__MAX"\n1,.9,.9,.9', "a chart of Weights & Biases says neither"),
        (b"param_method,split0_test_score,split1_test_score\nwanda,.9,.8",
            "are folds of a cross-validation, which share their training data and are no seeds: --columns "
            "scorer=COLUMN,seed=split0_test_score,split1_test_score takes them for seeds all the same"),
        (b"test_loss,0ep0it,2.3\ntest_accuracy,0ep0it,0.1", "column seed, scorer, accuracy is missing"),
        (b"0,wanda,0.9\n1,wanda,0.8", "its first line holds numbers, and may be no heading"),
        (b"seed,task_id,value\n0,31,.9\n1,31,.8", "column scorer, accuracy is missing"),
        (b"| seed | acc |\n|---|---|\n| 0 | 1 |\n\n| seed | acc |\n|---|---|", "a second Markdown table begins: keep one"),
    ],
)  # fmt: skip
def test_a_layout_that_is_not_read_says_its_way_out(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    assert main(["report", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_folds_are_seeds_where_they_are_said_to_be(tmp_path: Path) -> None:
    path, kept = tmp_path / "cv.csv", tmp_path / "kept.json"
    folds = [f"split{seed}_test_score" for seed in range(5)]
    rows = [f"{n}," + ",".join(f"{(b + a) / 100:.4f}" for b, a in zip(BASE, added, strict=True)) for n, added in ADDED.items()]
    path.write_text("\n".join([f"param_method,{','.join(folds)}", *rows]))
    assert main(["report", str(path), "--columns", f"scorer=param_method,seed={','.join(folds)}", "-o", str(kept)]) == 0
    found = {line["scorer"]: (round(line["mean"], 6), line["verdict"]) for line in json.loads(kept.read_text())["lines"]}
    assert found == VERDICTS


def test_the_page_lists_the_layouts() -> None:
    assert re.findall(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), re.M) == [layout.name for layout in LAYOUTS]

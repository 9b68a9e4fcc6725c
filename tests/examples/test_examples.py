"""Every example runs by the commands its docstring gives, and its run says what was measured and which way is better."""

import ast
import contextlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbclient
import nbformat
import pytest
import torch
from torch import nn

from sics_cli.settings.config import OwnTask
from sics_cli.store.store import Store
from sics_cli.tasks import training
from sics_cli.tasks.own_task import opened
from sics_cli.tasks.results import unpacked

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
LEAST = ["--scorers", "magnitude,gradient", "--sparsities", ".5", "--workers", "1"]
#: Metric, whether higher is better, what is a result of it, and options that make the example small.
TASKS = {
    "image_folder.py": ("accuracy", True, (0, 1), "passes = 1"),
    "tabular_regression.py": ("RMSE", False, (30, 200), "epochs = 20"),
    "language_model.py": ("perplexity", False, (2, 128), "steps = 20\nwidth = 16"),
    "digits_in_parts.py": ("accuracy", True, (0, 1), ""),
    "lightning_module.py": ("accuracy", True, (0, 1), "passes = 2"),
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def sics(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "-m", "sics_cli", *arguments)


def commands(file: str) -> list[list[str]]:
    """What the docstring says to type, word by word, paths to the examples made whole."""
    said = ast.get_docstring(ast.parse((EXAMPLES / file).read_text())) or ""
    lines = [line for line in said.replace("\\\n", " ").splitlines() if line.startswith(("python ", "sics-run "))]
    return [shlex.split(line.replace("examples/", f"{EXAMPLES}/")) for line in lines]


def type_in(folder: Path, file: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Type the commands of an example, the last with `more`."""
    *before, (program, *last) = commands(file)
    for _, *words in before:
        done = run(folder, *words)
        assert done.returncode == 0, done.stderr
    assert program == "sics-run"
    return sics(folder, *last, *LEAST, *more, "--out", "run")


def imported(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{Path(file).stem}", EXAMPLES / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exported(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in sics(folder, "export", "run", "--format", "jsonl").stdout.splitlines()]


#: Those that take longest run on demand, `make test-slow`.
LONGEST = ("image_folder.py", "lightning_module.py", "language_model.py")


def test_all_examples_are_run_here_and_named_on_the_page() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"}}
    assert there == {*TASKS, "five_checkpoints.py", "notebook.ipynb"}
    page = (ROOT / "docs" / "tasks.md").read_text()
    assert {name for name in there if f"`examples/{name}`" in page} == there


@pytest.mark.parametrize("file", [pytest.param(file, marks=[pytest.mark.slow] * (file in LONGEST)) for file in TASKS])
def test_an_example_runs_as_its_docstring_says(tmp_path: Path, file: str) -> None:
    metric, higher, (low, high), options = TASKS[file]
    (tmp_path / "small.toml").write_text(f"[task]\n{options}\n")
    done = type_in(tmp_path, file, "--seeds", "2", "--config", "small.toml")
    assert done.returncode == 0, done.stderr
    assert f"{'higher' if higher else 'lower'} is better" in done.stderr
    assert metric in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "curves").exists() is ("parts" in file)
    rows = exported(tmp_path)
    assert [(row["seed"], row["scorer"]) for row in rows] == [
        (seed, scorer) for seed in (0, 1) for scorer in ("dense", "magnitude", "gradient")
    ]
    assert {(row["metric"], row["higher_is_better"]) for row in rows} == {(metric, higher)}
    values = [float(str(row["value"])) for row in rows]
    assert all(low < value < high for value in values), values
    assert len(set(values)) > 2, "seeds and masks make a difference"
    with Store.open(tmp_path / "run" / "run.sqlite", read_only=True) as store:
        kept, cells = store.meta("recipe")["task"]["metric"], store.cells()
    assert (kept["name"], kept["higher_is_better"]) == (metric, higher)
    if not kept["mean"]:
        of = opened(OwnTask(next(word for word in commands(file)[-1] if ".py:" in word))).metric.of
        for row in cells:
            assert row.examples is not None
            assert of(unpacked(row.examples).astype(float)) == pytest.approx(row.value, rel=1e-6)


@pytest.mark.usefixtures("one_thread")
def test_training_in_parts_leaves_a_curve_and_is_training_in_one_go() -> None:
    task = imported("digits_in_parts.py").Digits()

    def begun(seed: int) -> training.Trainer:
        torch.manual_seed(seed)
        return task.trainer(seed)

    losses: list[float] = []
    whole, part, rest = begun(0), begun(0), begun(1)
    training.run(whole, 4, 0, log=lambda epoch: losses.append(epoch.values["loss"]))
    half = training.run(part, 4, 0, until=2)
    assert isinstance(half, training.HalfTrained)
    training.run(rest, 4, 0, begin=half)
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 4
    for name, value in whole.state().items():
        assert torch.equal(value, rest.state()[name]), name


def test_five_checkpoints_are_five_seeds_of_one_command(tmp_path: Path) -> None:
    done = type_in(tmp_path, "five_checkpoints.py")
    assert done.returncode == 0, done.stderr
    rows = exported(tmp_path)
    dense = {row["seed"]: row["checkpoint_hash"] for row in rows if row["scorer"] == "dense"}
    assert sorted(dense) == [0, 1, 2, 3, 4]
    assert len(set(dense.values())) == 5
    assert all(float(str(row["accuracy"])) > 0.8 for row in rows if row["scorer"] == "dense"), "read as they were trained"
    (tmp_path / "trained" / "seed5.safetensors").write_bytes((tmp_path / "trained" / "seed2.safetensors").read_bytes())
    _, *words = commands("five_checkpoints.py")[-1]
    twice = sics(tmp_path, *words, "--out", "twice")
    assert twice.returncode == 2
    assert "seed5.safetensors: is the same network as seed2.safetensors" in twice.stderr
    assert not (tmp_path / "twice").exists()


def test_the_notebook_was_executed_from_top_to_bottom() -> None:
    cells = [cell for cell in json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert len(outputs) >= 4
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert len(json.dumps(outputs)) < 20_000


def executed(book: nbformat.NotebookNode, folder: Path) -> list[nbformat.NotebookNode]:
    """All outputs of a notebook that a kernel of its own went through."""
    place = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(book, timeout=240, kernel_name="python3", resources=place).execute()
    return [output for cell in book.cells for output in cell.get("outputs", [])]


def test_the_notebook_runs_in_a_kernel_and_goes_on_in_another(tmp_path: Path) -> None:
    book = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    progress, run, frame, verdicts, link = executed(book, tmp_path)
    lines = progress["data"]["text/plain"].splitlines()
    assert "run notebook-run: 3 seeds, 27 cells, 0 there, 27 to compute" in lines[1]
    assert "notebook:Digits; accuracy in points, higher is better" in lines[2]
    assert sorted(line[:12] for line in lines[3:]) == ["seed 0 done:", "seed 1 done:", "seed 2 done:"]
    assert progress["data"]["text/html"] == "<br>".join(lines), "the bar is gone, the lines are there"
    assert "21 rows of 3 seeds" in run["data"]["text/plain"]
    assert all("<table" in shown["data"]["text/html"] for shown in (frame, verdicts))
    assert "href='notebook-run/report.html'" in link["data"]["text/html"]
    assert "accuracy" in (tmp_path / "notebook-run" / "report.html").read_text()

    book.cells = book.cells[: next(n for n, cell in enumerate(book.cells, 1) if "replicate(" in cell.source.splitlines()[0])]
    progress, run = executed(book, tmp_path)
    assert "27 there, 0 to compute" in progress["data"]["text/plain"], "an unchanged class is the same task"
    assert "21 rows of 3 seeds" in run["data"]["text/plain"]


#: Classes of the examples that train where `self.device` is, with options that make them small.
ON_DEVICE = {
    "image_folder.py": ("OwnLoop", {"passes": 1}),
    "tabular_regression.py": ("Diabetes", {"epochs": 1}),
    "language_model.py": ("Characters", {"steps": 1, "width": 16}),
    "digits_in_parts.py": ("Digits", {}),
}


@pytest.mark.parametrize("file", ON_DEVICE)
def test_an_example_trains_and_evaluates_where_its_device_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    name, options = ON_DEVICE[file]
    monkeypatch.chdir(tmp_path)
    if file == "image_folder.py":
        imported(file).make_data(each=3)
    task = getattr(imported(file), name)(**options)
    task.device = torch.device("meta")  # tensors of it and of the CPU do not mix, as those of a GPU do not
    fed: list[str] = []
    watch = nn.modules.module.register_module_forward_pre_hook(
        lambda _, given: fed.extend(x.device.type for x in given if isinstance(x, torch.Tensor))
    )
    try:
        if hasattr(task, "trainer"):
            trainer = task.trainer(0)
            network = trainer.network
            with pytest.raises(RuntimeError, match="meta"):  # a loss of no device has no value
                trainer.epoch(0)
            weights = {f"weight/{name}": torch.zeros(x.shape) for name, x in network.named_parameters()}
            trainer.load(weights | {name.replace("weight/", "momentum/", 1): x for name, x in weights.items()})
            assert {x.device.type for x in trainer.state().values()} == {"meta"}
        else:
            network = task.network(0)
        trained = len(fed)
        with contextlib.suppress(NotImplementedError), torch.no_grad():  # nothing comes back from there
            task.evaluate(network.eval(), 0)
    finally:
        watch.remove()
    assert 0 < trained < len(fed)
    assert set(fed) == {"meta"}
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_the_page_holds_a_task_that_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tasks.md").read_text()
    (source,) = re.findall(r"```python\n# flowers\.py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "flowers.py").write_text(source)
    checked = sics(tmp_path, "check-task", "flowers.py:Flowers")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = sics(tmp_path, "replicate", "--task", "flowers.py:Flowers", "--out", "run", "--no-report", "--seeds", "2", *LEAST)
    assert done.returncode == 0, done.stderr
    (tmp_path / "again.py").write_text(
        "from flowers import Flowers\nfrom sics_cli import replicate\n"
        "run = replicate(Flowers(), seeds=2, scorers=['magnitude', 'gradient'], sparsities=[.5], out='run')\n"
        "print(len(run.frame()), run.report('page.html'))\n"
    )
    again = run(tmp_path, "again.py")
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == ["6", "page.html"]
    assert "0 to compute" in again.stderr, "the command's run is the call's"

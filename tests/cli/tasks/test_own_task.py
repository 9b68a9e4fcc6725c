"""A task of the user's own: found, refused in one line before anything is trained, and known by its sources and options."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sics_cli.base.errors import ConfigError
from sics_cli.base.user_code import trimmed
from sics_cli.settings.config import OwnTask
from sics_cli.tasks.own_task import OwnRecipe, check, facts_of, from_instance, opened

TASKS = Path(__file__).with_name("own_tasks.py")
RUN = ("--seeds", "2", "--scorers", "magnitude,chaos", "--sparsities", ".5", "--no-report", "--out", "run")


@pytest.fixture
def run(cli: Any) -> Any:
    """The real command on a copy of the tasks."""
    shutil.copy(TASKS, cli.folder / "tasks.py")

    def done(task: str, *options: str) -> subprocess.CompletedProcess[str]:
        return cli.here("replicate", "--task", task, *RUN, *options)

    return done


@pytest.fixture
def folder(code_folder: Path) -> Path:
    shutil.copy(TASKS, code_folder / "tasks.py")
    return code_folder


def refused(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """The one line that refuses; nothing was written."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not (folder / "run").exists()
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sics-run: ")
    return last


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoMetric", "has no metric: give a sics_cli.Metric, such as metric = Metric('accuracy')"),
        ("WrongMetric", "metric is str: give a sics_cli.Metric"),
        ("NoEvaluate", "has no method evaluate(network, seed)"),
        ("NoCalibration", "has no method calibration(seed)"),
        ("NoNetwork", "has neither network(seed) nor trainer(seed), which make the dense network"),
        ("NoMethod", "evaluate is float, not a method evaluate(network, seed)"),
        ("Signature", "evaluate(network) is not called with (network, seed)"),
        ("NoEpochs", "epochs is 0: a task with a trainer says how many it trains, at least 1"),
        ("Raises", "made with () raises LookupError: no data here (tasks.py, line "),
        ("Leaves", "made with () raises SystemExit: usage: ... (tasks.py, line "),
        ("Nosuch", "cannot be imported (module tasks.py has no attribute 'Nosuch')"),
        ("nn", "is module, not a class"),
    ],
)
def test_a_task_that_lacks_something_is_refused_before_a_run(run: Any, cli: Any, name: str, words: str) -> None:
    line = refused(run(f"tasks.py:{name}"), cli.folder)
    assert f"--task {cli.folder}/tasks.py:{name}: " in line
    assert words in line


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("gone.py", None, "there is no file "),
        ("wrong.py", "import torch\n\nclass Mine(:\n    pass\n", "cannot be imported (invalid syntax (wrong.py, line 3))"),
        (
            "raises.py",
            "import torch\n\n\nraise LookupError('no such data')\n",
            "(no such data): LookupError in raises.py, line 4",
        ),
        ("leaves.py", "import sys\nsys.exit('usage: ...')\n", "(usage: ...): SystemExit in leaves.py, line 2"),
        ("deeper.py", "from json import loads\nloads('{')\n", ": JSONDecodeError in deeper.py, line 2"),
        (
            "missing.py",
            "import no_such_module_of_mine\n",
            "(No module named 'no_such_module_of_mine'): ModuleNotFoundError in missing.py",
        ),
        ("helped.py", "import help_of_a_test\n", "(division by zero): ZeroDivisionError in help_of_a_test.py, line 2"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(
    run: Any, cli: Any, file: str, text: str | None, words: str
) -> None:
    (cli.folder / "help_of_a_test.py").write_text("one = 1\none / 0\n")
    if text is not None:
        (cli.folder / file).write_text(text)
    assert words in refused(run(f"{file}:Mine"), cli.folder)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[task]\nwidth = 3\n", "tasks.py:Good: unknown option task.width: Good takes hidden"),
        ("[task]\nwidth = 3\nhiden = 4\n", "unknown option task.hiden (did you mean hidden?), task.width: Good takes hidden"),
        ("[task]\nhidden = 2020-01-01\n", "task.hidden = datetime.date(2020, 1, 1) is not accepted: give a number, a string"),
        ("[task]\nhidden = 'x'\n[model]\ndepth = 3\n", "model: is for the image tasks; a task of your own brings its network"),
        ("[training]\nepochs = 3\n", "training: is for the image tasks"),
        ("task = 3\n", "task = 3 is not accepted: give a table [task]"),
    ],
)
def test_options_that_are_not_accepted(run: Any, cli: Any, toml: str, words: str) -> None:
    (cli.folder / "own.toml").write_text(toml)
    assert words in refused(run("tasks.py:Good", "--config", "own.toml"), cli.folder)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("hidden = '64'", "task.hidden = '64' is not accepted: give a whole number"),
        ("hidden = 64.0", "task.hidden = 64.0 is not accepted: give a whole number"),
        ("hidden = true", "task.hidden = True is not accepted: give a whole number"),
        ("rate = [0.1]", "task.rate = [0.1] is not accepted: give a number"),
    ],
)
def test_an_option_of_another_type_than_its_annotation(run: Any, cli: Any, toml: str, words: str) -> None:
    (cli.folder / "own.toml").write_text(f"[task]\nnames = 3\n{toml}\n")
    assert refused(run("tasks.py:Annotated", "--config", "own.toml"), cli.folder).endswith(f"tasks.py:Annotated: {words}")


def test_an_option_that_a_class_needs_is_named(run: Any, cli: Any) -> None:
    (cli.folder / "mine.py").write_text(
        "from tasks import Good\n\n\nclass Mine(Good):\n    def __init__(self, width, depth=2):\n        self.hidden = width\n"
    )
    line = refused(run("mine.py:Mine"), cli.folder)
    assert line.endswith("mine.py:Mine: needs task.width of the table [task] of --config FILE.toml: Mine takes width, depth")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "timm:vit_tiny"], "--model: is for the image tasks; a task of your own brings its network and its data"),
        (["--data", "digits"], "--data: is for the image tasks"),
        (["--preset", "digits"], "--preset: is for the image tasks"),
        (["--download"], "--download: is for the image tasks"),
        (["--checkpoint", "x.pt"], "checkpoint: is for the image tasks"),
        (["--delta", "100"], "--delta 100: is not accepted: give points above 0 and below 100"),
        (["--unit", "channel"], "--unit channel: targets() of tasks.py:Elsewhere names weights: give --unit weight"),
    ],
)
def test_options_that_do_not_go_with_a_task_of_ones_own(run: Any, cli: Any, options: list[str], words: str) -> None:
    name = "Elsewhere" if options[0] == "--unit" else "Good"
    assert words in refused(run(f"tasks.py:{name}", *options), cli.folder)


def test_a_metric_without_a_margin_asks_for_one(run: Any, cli: Any) -> None:
    text = TASKS.read_text().replace(", delta=0.01)", ")")
    (cli.folder / "tasks.py").write_text(text)
    assert "--delta: is not given: say how much error is no difference, in bits" in refused(run("tasks.py:Squares"), cli.folder)


# -- Python --------------------------------------------------------------------------------------------------------------


def imported(folder: Path) -> Any:
    import importlib

    return importlib.import_module("tasks")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "NotSent",
            r"replicate\(NotSent\): cannot be sent to workers: its attribute lines, generator, cannot be pickled: make it inside",
        ),
        (
            "NotKept",
            r"its argument width is not kept as an attribute of that name, so that no key could tell two values of it apart",
        ),
        ("NoMetric", r"replicate\(NoMetric\): has no metric"),
        ("Signature", r"replicate\(Signature\): evaluate\(network\) is not called with"),
    ],
)
def test_an_object_that_cannot_be_handed_over(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ConfigError, match=words):
        from_instance(getattr(imported(folder), name)())


def test_an_argument_that_no_key_can_be_made_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ConfigError, match="its argument hidden is object: give a number, a string, a boolean or a list of them"):
        from_instance(imported(folder).Good(hidden=object()))


def test_an_object_and_its_name_make_one_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    handed = from_instance(imported(folder).Good(hidden=12))
    named = OwnTask("tasks.py:Good", (("hidden", 12),))
    assert handed.name == named.name == f"{folder}/tasks.py:Good"
    assert OwnRecipe(handed, facts_of(handed)).content == OwnRecipe(named, facts_of(named)).content
    assert opened(handed).hidden == opened(named).hidden == 12
    plain = from_instance(imported(folder).Good())
    assert plain.options == ()  # a default is no option


def test_what_is_handed_over_is_a_task() -> None:
    with pytest.raises(ConfigError, match="mine: has no metric"):
        check(object(), "mine")


# -- keys ----------------------------------------------------------------------------------------------------------------


def run_id(cli: Any) -> str:
    from sics_cli.store.store import Store

    with Store.open(cli.store, read_only=True) as store:
        return str(store.meta("run_id"))


HELPED = "from help_of_my_task import width\nfrom tasks import Good as Base\n\n\nclass Good(Base):\n    pass\n"


def test_what_makes_another_run_and_what_does_not(run: Any, cli: Any) -> None:
    for name, text in (("mine.py", HELPED), ("help_of_my_task.py", "width = 3\n"), ("beside.py", "")):
        (cli.folder / name).write_text(text)
    assert run("mine.py:Good").returncode == 0
    first = run_id(cli)
    (cli.folder / "beside.py").write_text("# nothing that it imports\n")
    again = run("mine.py:Good")
    assert again.returncode == 0
    assert "8 cells, 8 there, 0 to compute" in again.stderr
    (cli.folder / "own.toml").write_text("name = 'good'\n[task]\nhidden = 12\n")
    changes = []
    for file, text, options in (
        ("help_of_my_task.py", "width = 4\n", ()),
        ("mine.py", HELPED + "# a comment\n", ()),
        ("tasks.py", TASKS.read_text() + "# a comment\n", ()),
        ("beside.py", "", ("--config", "own.toml")),
    ):
        before = (cli.folder / file).read_text()
        (cli.folder / file).write_text(text)
        done = run("mine.py:Good", *options)
        assert done.returncode == 2
        line = done.stderr.splitlines()[-1]
        assert line.startswith("sics-run: --out run: holds a run of another recipe (")
        assert line.endswith("): choose another --out")
        changes.append(line.partition("(")[2].rpartition(")")[0].split(" → ")[0].split()[0])
        (cli.folder / file).write_text(before)
    assert changes == [
        "task.helpers_sha256.help_of_my_task.py", "task.source_sha256", "task.helpers_sha256.tasks.py", "task.options.hidden",
    ]  # fmt: skip
    assert run("mine.py:Good").returncode == 0
    assert run_id(cli) == first


def test_python_and_the_command_make_one_run(run: Any, cli: Any) -> None:
    """Where no folder is named, both choose the same, and the second finds everything there."""
    (cli.folder / "script.py").write_text(
        "from tasks import Good\nfrom sics_cli import replicate\n\nif __name__ == '__main__':\n"
        "    found = replicate(Good(), seeds=2, scorers=['magnitude', 'chaos'], sparsities=[.5])\n"
        "    print(found.folder, len(found.frame()))\n"
    )
    shutil.copy(TASKS, cli.folder / "tasks.py")
    options = [option for option in RUN if option not in ("--out", "run")]
    assert cli.here("replicate", "--task", "tasks.py:Good", *options).returncode == 0
    (made,) = (cli.folder / "runs").iterdir()
    done = subprocess.run([sys.executable, "script.py"], cwd=cli.folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 cells, 8 there, 0 to compute" in done.stderr
    assert done.stdout.split()[-2:] == [f"runs/{made.name}", "6"]
    assert [path.name for path in (cli.folder / "runs").iterdir()] == [made.name]


def test_python_tells_of_doubts_too(cli: Any) -> None:
    (cli.folder / "script.py").write_text(
        "from tasks import Share\nfrom sics_cli import replicate\n\nif __name__ == '__main__':\n"
        "    replicate(Share(), seeds=1, scorers='magnitude', sparsities=[.5], out='run')\n"
    )
    shutil.copy(TASKS, cli.folder / "tasks.py")
    done = subprocess.run([sys.executable, "script.py"], cwd=cli.folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "δ = 1 F1 is no less than the dense result itself" in done.stderr.splitlines()[-1]


def test_python_and_the_command_refuse_a_place_in_the_same_words(
    run: Any, cli: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sics_cli import replicate

    line = refused(run("tasks.py:Good", "--slurm", "partition=x"), cli.folder)
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ConfigError) as error:
        replicate(imported(folder).Good(), slurm="partition=x", out="run")
    assert line == f"sics-run: {error.value}"
    assert line.endswith("--slurm partition=x: is for --executor slurm, this is --executor local")
    assert not (folder / "run").exists()


# -- tracebacks ----------------------------------------------------------------------------------------------------------

CHAINED = """\
Traceback (most recent call last):
  File "{ours}/seeds/seed_run.py", line 3, in _attempt
    row = self._cell(cell)
  File "/home/me/mine.py", line 7, in evaluate
    return self.table[seed]
           ~~~~~~~~~~^^^^^^
KeyError: 3

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/home/me/mine.py", line 9, in evaluate
    return network(x)
  File "{torch}", line 1, in _call_impl
    return forward_call(*args)
  [Previous line repeated 3 more times]
RuntimeError: the first line
  the second
"""


def test_what_python_writes_for_a_dataclass_is_nobodys_code() -> None:
    assert trimmed('Traceback (most recent call last):\n  File "<string>", line 17, in __init__\nValueError: no\n') == ""


def test_a_traceback_of_the_users_frames_alone() -> None:
    import torch

    import sics_cli

    here = Path(sics_cli.__file__).parent
    shown = trimmed(CHAINED.format(ours=here, torch=torch.nn.modules.module.__file__))
    assert (
        shown
        == """\
Traceback (most recent call last):
  File "/home/me/mine.py", line 7, in evaluate
    return self.table[seed]
           ~~~~~~~~~~^^^^^^
KeyError: 3

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/home/me/mine.py", line 9, in evaluate
    return network(x)
RuntimeError: the first line
  the second
"""
    )
    assert (
        trimmed(
            CHAINED.format(ours=here, torch="x").replace("/home/me/mine.py", f"{here}/api.py").replace('"x"', f'"{here}/x.py"')
        )
        == ""
    )

"""Progress in a notebook: one output that is written over, whose names are text and never markup."""

from typing import Any

from sics_cli.console.notebook import NotebookReporter, in_notebook
from sics_cli.seeds.progress import State


class Output:
    """What IPython's `display` gives with an id: an output that can be written over."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, html: str, *, display_id: bool) -> "Output":
        assert display_id
        self.shown.append(html)
        return self

    def update(self, html: str) -> None:
        self.shown.append(html)


def test_one_output_holds_the_bar_and_the_lines_and_ends_without_the_bar() -> None:
    output: Any = Output()
    with NotebookReporter(output, str) as progress:
        progress.note("task <Digits>")
        progress.show(State(0.25, 6, 30.0, {1: "pruning", 0: "training"}, {}))
    first, moving, last = output.shown
    assert first == last == "task &lt;Digits&gt;"
    bar, line = moving.split("<br>")
    assert bar.startswith('<progress value="0.2500" max="1"></progress> 25% 6 cells to go; about ')
    assert bar.endswith("seed 0 training, seed 1 pruning")
    assert line == first


def test_a_terminal_is_no_notebook() -> None:
    assert not in_notebook()

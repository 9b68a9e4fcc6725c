"""Progress in a notebook: one output that is written over, whose names are text and never markup."""

from typing import Any

from sics_cli.console.notebook import NotebookReporter, in_notebook
from sics_cli.seeds.progress import State


class Output:
    """What IPython's `display` gives with an id: an output that can be written over."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def __call__(self, shown: dict[str, str], *, raw: bool, display_id: bool) -> "Output":
        assert display_id
        self.update(shown, raw=raw)
        return self

    def update(self, shown: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(shown)


def test_one_output_holds_the_bar_and_the_lines_and_ends_without_the_bar() -> None:
    output: Any = Output()
    state = State(0.25, 6, 30.0, {1: "pruning", 0: "training"}, {})
    with NotebookReporter(output) as progress:
        progress.note("task <Digits>")
        progress.show(state)
        progress.show(state)
    first, moving, last = output.shown
    assert first == last == {"text/html": "task &lt;Digits&gt;", "text/plain": "task <Digits>"}
    assert moving["text/plain"] == "25 %; 6 cells to go; about 0:30 left; seed 0 training, seed 1 pruning\ntask <Digits>"
    bar, line = moving["text/html"].split("<br>")
    assert bar == f'<progress value="0.2500" max="1"></progress> {moving["text/plain"].splitlines()[0]}'
    assert line == "task &lt;Digits&gt;"


def test_a_terminal_is_no_notebook() -> None:
    assert not in_notebook()

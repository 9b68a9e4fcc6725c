"""The README's Python runs as printed, in order, in one session."""

import re
import warnings
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_python_blocks_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    namespace: dict[str, object] = {"__name__": "readme"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            for block in blocks:
                exec(compile(block, str(README), "exec"), namespace)
        finally:
            from sics_plugin import list_scorers, unregister_scorer

            if "valley" in list_scorers():
                unregister_scorer("valley")
    assert "80.00%" in capsys.readouterr().out


def test_table_of_scorers_is_the_registry() -> None:
    from sics_plugin import get_scorer, list_scorers, method_for

    rows = re.findall(r"^\| `(\w+)` \| `(SICS\w+)` \| (\S+) \|", README.read_text(), re.MULTILINE)
    default = [name for name in list_scorers() if get_scorer(name).role != "peer" and not get_scorer(name).on_request]
    assert [name for name, _, _ in rows] == default
    for name, method, kappa in rows:
        assert method_for(name).__name__ == method
        cls = get_scorer(name)
        assert kappa == (str(cls.kappa) if cls.kappa is not None else {"adaptive": "–"}.get(cls.role, cls.role))


def test_table_of_peers_is_the_registry() -> None:
    from sics_plugin import get_scorer, list_scorers

    page = (README.parent / "docs" / "peers.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.+) \| `(\w+)`[^|]* \| (\w+) \| (.+) \|$", page, re.MULTILINE)
    assert [name for name, *_ in rows] == list_scorers(role="peer")
    for name, source, signal, pool, units in rows:
        cls = get_scorer(name)
        assert (signal, pool, units == "refused") == (cls.requires, cls.pool, cls.units == ("weight",))
        assert source.split(",")[-1].split()[-1].rstrip(")") in cls.source

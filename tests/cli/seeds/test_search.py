"""What is kept of a search, and when its held-out examples are taken for others."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sics_cli.base.hashing import canonical_json, digest
from sics_cli.seeds.search import HeldOutFacts, Kept, Point
from sics_cli.tasks.results import evaluation_of
from sics_cli.tasks.task import Metric

HERE = {"device": "cpu", "cpu": "one"}
KNOWN = HeldOutFacts("fed", "numbers", HERE)


@pytest.mark.parametrize(
    ("now", "others"),
    [
        ({}, False),
        ({"fed": "other"}, True),
        ({"fed": "other", "facts": {"device": "gpu"}}, False),
        ({"fed": "other", "numbers": None}, True),
        ({"numbers": "other"}, True),
        ({"numbers": "other", "facts": {"device": "gpu"}}, False),
        ({"numbers": "other", "fed": None}, True),
        ({"numbers": None}, False),
        ({"fed": None, "numbers": None}, False),
    ],
)
def test_examples_are_others_by_what_is_fed_and_by_numbers_on_one_device(now: dict[str, Any], others: bool) -> None:
    assert replace(KNOWN, **now).are_others(KNOWN) is others
    assert KNOWN.are_others(replace(KNOWN, **now)) is others


def test_inputs_that_another_device_computed_are_doubted() -> None:
    """A spectrogram of one sound differs in the last bit between two processors."""
    assert replace(KNOWN, fed="other", facts={"device": "gpu"}).may_be_others(KNOWN)
    assert not replace(KNOWN, fed="other").may_be_others(KNOWN)
    assert not replace(KNOWN, facts={"device": "gpu"}).may_be_others(KNOWN)
    assert not replace(KNOWN, fed=None, facts={"device": "gpu"}).may_be_others(KNOWN)


def test_what_is_another_when_asked_again_tells_nothing() -> None:
    assert KNOWN.steady(KNOWN) == KNOWN
    assert KNOWN.steady(replace(KNOWN, numbers="again")) == replace(KNOWN, numbers=None)
    assert KNOWN.steady(replace(KNOWN, fed="again")) == replace(KNOWN, fed=None)


def test_examples_are_known_by_each_number() -> None:
    metric = Metric("accuracy")
    right = evaluation_of({"accuracy": [True, False, True], "loss": 0.5}, metric)
    moved = evaluation_of({"accuracy": [False, True, True], "loss": 0.5}, metric)
    loss = evaluation_of({"accuracy": [True, False, True], "loss": 0.6}, metric)
    whole = evaluation_of({"accuracy": 2 / 3, "loss": 0.5}, metric)
    found = {HeldOutFacts.of("fed", one, HERE).numbers for one in (right, moved, loss, whole)}
    assert len(found) == 4
    assert HeldOutFacts.of("fed", None, HERE).numbers is None
    assert HeldOutFacts.read(json.loads(canonical_json({"fed": "fed", "numbers": "numbers", "facts": HERE}))) == KNOWN
    assert HeldOutFacts.read(None) is None


def test_points_are_read_as_they_were_written_and_as_they_were_before(tmp_path: Path) -> None:
    """Files of searches that say nothing of examples and forms hold points of the same search."""
    point = Point((1.0, -0.5), -0.3, "mask", 0.9, 0.3)
    kept = Kept(("search", "network", "saliency"), "loss", 100, (point, point), KNOWN, nondeterministic=True)
    path = tmp_path / "searches" / "one.json"
    kept.write(path)
    assert Kept.read(path, kept.of) == kept
    assert Kept.read(path, ("another", *kept.of[1:])) is None
    body = json.loads(path.read_text())["search"]
    del body["examples"], body["nondeterministic"]
    path.write_text(canonical_json({"search": body, "sha256": digest(body)}))
    assert Kept.read(path, kept.of) == replace(kept, examples=None, nondeterministic=False)

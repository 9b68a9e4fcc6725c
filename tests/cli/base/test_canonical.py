import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sics_cli.base.hashing import canonical_json, digest

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


def shuffled(value: object) -> object:
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(VALUES)
def test_order_of_keys_does_not_matter(value: object) -> None:
    assert canonical_json(value) == canonical_json(shuffled(value))
    assert digest(value) == digest(shuffled(value))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(VALUES, VALUES)
def test_one_text_one_value(one: object, two: object) -> None:
    import json

    assert json.loads(canonical_json(one)) == one
    if canonical_json(one) == canonical_json(two):
        assert one == two


def test_known_digest() -> None:
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize("bad", [math.nan, math.inf, {"a": [math.nan]}])
def test_no_nan(bad: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(bad)


def test_no_keys_that_json_would_merge() -> None:
    with pytest.raises(TypeError, match="string keys"):
        canonical_json({"a": {1: "x", "1": "y"}})

"""The options of an adaptive prune on what prunes a whole model: ``calibrate=`` made into a table, and tables checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from sics_plugin.adaptive import AdaptiveTable
from sics_plugin.held_out import Calibration, calibrate
from sics_plugin.scorers import Adaptive

P = ParamSpec("P")
R = TypeVar("R")


def adaptive_options(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of what prunes a model: ``calibrate=`` (a :class:`Calibration`) becomes ``table=``; units are checked."""
    signature = inspect.signature(function)
    call = cast(Callable[..., R], function)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> R:
        how = kwargs.pop("calibrate", None)
        if kwargs.get("groups") is not None:
            kwargs["groups"] = list(kwargs["groups"])  # gone through more than once
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        values = {**given.arguments, **given.arguments.get("parameters", {})}
        if how is not None:
            kwargs["table"] = values["table"] = _calibrated(how, values)
        method, unit, pool = values["method"], values.get("unit", "weight"), values.get("pool", "global")
        for table in (values.get("table"), method, getattr(method, "table", None)):
            if isinstance(table, AdaptiveTable):
                table.check_unit(unit)
                table.check_pool(pool)
        return call(*args, **kwargs)

    return cast(Callable[P, R], wrapper)


def _calibrated(how: object, values: dict[str, Any]) -> AdaptiveTable:
    if not isinstance(how, Calibration):
        raise TypeError(f"Expected `calibrate` to be a Calibration, got {type(how).__name__}")
    method = values["method"]
    if method != "adaptive" and getattr(method, "scorer_class", None) is not Adaptive:
        raise TypeError(f"Expected method 'adaptive' with `calibrate`, got {method!r:.60}")
    for name in ("table", "alpha", "importance_scores"):
        if values.get(name) is not None:
            raise TypeError(f"Expected no `{name}` beside `calibrate`, which chooses class and strength by the model's weights")
    names = [name for name in ("saliency", "pool", "min_keep", "sparsity", "groups") if values.get(name) is not None]
    return calibrate(
        values["model"], values["amount"], how, unit=values.get("unit", "weight"), **{name: values[name] for name in names}
    )

"""``calibrate=`` of what prunes a model, made into the table, pool and saliency that it chooses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from sics_plugin.pruning.calibrating.calibration import Calibration, Prune, calibrate
from sics_plugin.pruning.calibrating.evaluate import OverBatches, example_of
from sics_plugin.pruning.calibrating.trials import Trials
from sics_plugin.scorers.adaptive import Adaptive, AdaptiveTable

P = ParamSpec("P")
R = TypeVar("R")
#: What a candidate is pruned with, as it was given for the prune that follows.
OPTIONS = ("saliency", "pool", "min_keep", "sparsity", "groups", "params", "exact")


def adaptive_options(prune: Callable[[], Prune]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of what prunes a model: ``calibrate=`` becomes a ``table=`` by trials of ``prune()``, tables are checked."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        call = cast(Callable[..., R], function)

        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> R:
            how = kwargs.pop("calibrate", None)
            for name in ("groups", "params"):
                if isinstance(kwargs.get(name), Iterable) and not isinstance(kwargs[name], str):
                    kwargs[name] = list(kwargs[name])  # gone through more than once
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            values = {**given.arguments, **given.arguments.get("parameters", {})}
            if how is not None:
                chosen = _chosen(how, values, prune())
                values |= chosen
                for name, value in chosen.items():
                    (given.arguments if name in signature.parameters else given.arguments["parameters"])[name] = value
            method, unit, pool = values["method"], values.get("unit", "weight"), values.get("pool", "global")
            for table in (values.get("table"), method, getattr(method, "table", None)):
                if isinstance(table, AdaptiveTable):
                    table.check_unit(unit)
                    table.check_pool(pool)
            return call(*given.args, **given.kwargs)

        return cast(Callable[P, R], wrapper)

    return decorate


def _chosen(how: object, values: dict[str, Any], prune: Prune) -> dict[str, Any]:
    """The arguments that take the place of ``calibrate``."""
    if not isinstance(how, Calibration | Trials):
        raise TypeError(f"Expected `calibrate` to be Trials or a Calibration, got {type(how).__name__}")
    method = values["method"]
    if method != "adaptive" and getattr(method, "scorer_class", None) is not Adaptive:
        raise TypeError(f"Expected method 'adaptive' with `calibrate`, got {method!r:.60}")
    for name in ("table", "alpha", "importance_scores"):
        if values.get(name) is not None:
            raise TypeError(f"Expected no `{name}` beside `calibrate`, which chooses class and strength by the model's weights")
    unit, options = values.get("unit", "weight"), {name: values[name] for name in OPTIONS if values.get(name) is not None}
    model, amount = values["model"], values["amount"]
    if isinstance(how, Trials):
        if options.pop("saliency", None) is not None:
            raise TypeError("Expected no `saliency` beside Trials, which collect the signals of every scorer from their batches")
        if (pool := options.pop("pool", "global")) != "global":
            raise TypeError(f"Expected no `pool` beside Trials, got {pool!r}: they choose among their own `pools`")
        table, found = how.tried(model, amount, prune=prune, unit=unit, **options)
        chosen, example = {"table": table, **found}, example_of(how.kept)
    else:
        chosen = {"table": calibrate(model, amount, how, prune=prune, unit=unit, **options)}
        example = example_of(how.evaluate.batches) if isinstance(how.evaluate, OverBatches) else None
    if example is not None and values.get("groups") is not None and values.get("example") is None:
        chosen["example"] = example
    return chosen

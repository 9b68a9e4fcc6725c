"""The registry that finds a scorer by name.

A new one is one class:

>>> from sics_plugin.scorers.sics import CoordinateScorer
>>> @register_scorer
... class Valley(CoordinateScorer):
...     '''Keeps units with an extreme saliency among those of their magnitude.'''
...     name, kappa, summary = "valley", 1, "ρ + α·(z−½)², standardised"
...
...     def feature(self, z, sparsity):
...         return ((z - 0.5) ** 2 - 1 / 12) * 180**0.5
>>> "valley" in list_scorers(kappa=1)
True
>>> unregister_scorer("valley")
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar, get_args

from sics_plugin.scorers.base import Role, Scorer
from sics_plugin.warn import warn_caller

_REGISTRY: dict[str, type[Scorer]] = {}
_FILES = ("sics", "adaptive", "peers", "indicators", "fusion")
_BUILT_IN = ("sics_plugin", *(f"sics_plugin.scorers.{file}" for file in _FILES))
S = TypeVar("S", bound=type[Scorer])


def register_scorer(cls: S) -> S:
    """Class decorator: make a scorer findable by its ``name``.

    Registering a name again replaces it, with a warning; the names of the built-in scorers are not given away, because
    stored results go by them.
    """
    for fact in ("name", "summary"):
        if not isinstance(getattr(cls, fact, None), str):
            raise TypeError(f"Expected {cls.__name__}.{fact} to be a string")
    if cls.role not in get_args(Role):
        raise ValueError(f"Expected {cls.__name__}.role to be one of {', '.join(get_args(Role))}, got {cls.role!r}")
    if cls.role == "feature" and cls.kappa not in (0, 1, 2):
        raise ValueError(f"Expected {cls.__name__}.kappa to be 0, 1 or 2 for a feature class, got {cls.kappa!r}")
    if cls.role != "feature" and cls.kappa is not None:
        raise ValueError(f"Expected {cls.__name__}.kappa to be None for a {cls.role}, got {cls.kappa!r}")
    known = _REGISTRY.get(cls.name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        if known.__module__ in _BUILT_IN:
            raise ValueError(f"Expected another name for {cls.__module__}.{cls.__qualname__}: {cls.name!r} is a built-in scorer")
        warn_caller(f"scorer {cls.name!r} was {known.__module__}.{known.__qualname__}; replaced")
    _REGISTRY[cls.name] = cls
    return cls


def unregister_scorer(name: str) -> None:
    """Take a scorer out of the registry."""
    get_scorer(name)
    del _REGISTRY[name]


def list_scorers(*, kappa: int | None = None, role: Role | None = None) -> list[str]:
    """Names of the registered scorers in order of registration, optionally of one complexity or role.

    Examples
    --------
    >>> list_scorers(kappa=2)
    ['chaos', 'wiggle', 'orbit_mean', 'weierstrass']
    """
    if role is not None and role not in get_args(Role):
        raise ValueError(f"Expected `role` to be one of {', '.join(get_args(Role))}, got {role!r}")
    return [
        name for name, cls in _REGISTRY.items() if (kappa is None or cls.kappa == kappa) and (role is None or cls.role == role)
    ]


def get_scorer(name: str) -> type[Scorer]:
    """The scorer class registered under a name.

    Raises
    ------
    ValueError
        If there is none; the message lists those there are.

    Examples
    --------
    >>> get_scorer("chaos").kappa
    2
    """
    try:
        return _REGISTRY[name]
    except KeyError:
        raise ValueError(f"Expected a scorer among {', '.join(_REGISTRY)}, got {name!r}") from None


def build_scorer(name: str, *, seed: int = 0, **parameters: Any) -> Scorer:
    """An instance by name. ``seed`` reaches the scorers that draw random numbers, other parameters must be known to the class.

    Examples
    --------
    >>> build_scorer("chaos", alpha=0.1).alpha
    0.1
    """
    cls = get_scorer(name)
    accepted = [f.name for f in fields(cls)]
    if unknown := set(parameters) - set(accepted):
        known = f"takes {', '.join(accepted)}" if accepted else "takes no parameters"
        raise TypeError(f"scorer {name!r} {known}; got {', '.join(sorted(unknown))}")
    if "seed" in accepted:
        parameters["seed"] = seed
    return cls(**parameters)

"""Measuring scorers on networks: which, on what saliency, and the table of what was found."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sics_cli.experiment.errors import ConfigError
from sics_cli.experiment.lineup import DEFAULT_ROLES, PEER, make_scorer, scorer_class
from sics_cli.experiment.measured import MeasuredNetwork
from sics_cli.experiment.own_scorers import check_own, is_own
from sics_plugin import Scorer, list_scorers
from sics_plugin.complexity.meter import DRAWS, SPARSITIES, measure
from sics_plugin.complexity.result import Complexity
from sics_plugin.saliency.kinds import uses_data


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One scorer on one network."""

    network: MeasuredNetwork
    found: Complexity

    def rows(self) -> list[dict[str, Any]]:
        """A flat row for each sparsity, with what holds at all of them beside it."""
        whole = {
            "network": self.network.experiment, "seed": self.network.seed, "declared_kappa": self.found.declared,
            "measured_kind": self.found.kind, "measured_kappa": self.found.kappa, "measured_confidence": self.found.confidence,
            "flags": "; ".join(self.found.flags),
        }  # fmt: skip
        return [whole | row for row in self.found.rows()]


def measure_all(
    network: MeasuredNetwork,
    specs: Sequence[str] | None,
    *,
    sparsities: Sequence[float] | None = None,
    draws: int | None = None,
) -> Iterator[Measured]:
    """Measure scorers on one network, in the order given; default: all that run by default and can use its saliency.

    A scorer that requires a saliency of another kind is given that, and measured against the network's.

    Raises
    ------
    ConfigError
        A scorer is unknown, breaks the contract, or cannot be measured here.
    """
    for spec in specs if specs is not None else _usable(network):
        cls = scorer_class(spec)
        if is_own(spec):
            check_own(spec, network.kind)
        other = cls.requires is not None and cls.requires != network.kind
        try:
            own = network.saliency_of(cls.requires) if other and cls.requires is not None else network.saliency
            found = measure(
                make_scorer(spec, 0),
                network.model,
                own,
                against=network.saliency if other else None,
                sparsities=SPARSITIES if sparsities is None else sparsities,
                draws=DRAWS if draws is None else draws,
            )
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{spec}: cannot be measured: {error}") from None
        yield Measured(network, found)


def _usable(network: MeasuredNetwork) -> list[str]:
    names = [(name, scorer_class(name)) for name in list_scorers()]
    roles = (*DEFAULT_ROLES, "adaptive", PEER)

    def usable(cls: type[Scorer]) -> bool:
        own = cls.role == PEER and (bool(network.batches) or not uses_data(cls.requires or network.kind))
        return cls.role in roles and (own or cls.requires in (None, network.kind))

    return [name for name, cls in names if usable(cls)]


def as_text(measured: Sequence[Measured], ending: str) -> str:
    """All rows as CSV or JSON lines, by the ending of a file's name."""
    rows = [row for one in measured for row in one.rows()]
    if ending == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()

"""SICSAdaptive with its measured table, as a scorer that replicate finds by file: the second arm of bench/adaptive.toml."""

from __future__ import annotations

from dataclasses import dataclass

from sics_plugin.scorers.adaptive import Adaptive, AdaptiveTable
from sics_plugin.scorers.registry import register_scorer


@register_scorer
@dataclass(frozen=True)
class AdaptiveMeasured(Adaptive):
    """``SICSAdaptive(amount, saliency, table="measured")``."""

    name, summary = "adaptive_measured", "information, α half of what is kept, at most 0.15"
    table: AdaptiveTable | str | None = "measured"

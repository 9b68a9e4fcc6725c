"""An answer, and what answers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from sics_analysis.results import Verdict

Tone: TypeAlias = Literal["yes", "no", "open"]
TONE_GLYPHS: dict[Tone, str] = {"yes": "✓", "no": "✗", "open": "?"}
SAME = (Verdict.EQUIVALENT, Verdict.IDENTICAL)
LIMIT = 6  # names in a sentence before they are counted


@dataclass(frozen=True, slots=True)
class Answer:
    """One question, its answer in a few words, and the sentences behind it."""

    id: str
    question: str
    tone: Tone
    short: str
    text: str

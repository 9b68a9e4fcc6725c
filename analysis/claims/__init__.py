"""The paper's claims, and what a run says of them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sics_analysis.claims.scorecard import paper_claims as paper_claims


def __getattr__(name: str) -> object:
    if name != "paper_claims":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sics_analysis.claims import scorecard  # only now: a document reads what a claim is without any statistics

    return scorecard.paper_claims

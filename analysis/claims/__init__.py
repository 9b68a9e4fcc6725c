"""The paper's claims, and what a run says of them."""

from sics_analysis.claims.statement import paper_claims as paper_claims

"""The paper's claims, and what a run says of them."""

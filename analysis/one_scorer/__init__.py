"""One scorer against the reference: tests, intervals, effect, verdict."""

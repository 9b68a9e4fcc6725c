"""Pruning a model: weights, channels and heads, with a report."""

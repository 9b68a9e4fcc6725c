"""Channels and heads: which rows, columns and statistics go together, and a model without them."""

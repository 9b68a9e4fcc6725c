"""The whole analysis of a table in one call."""

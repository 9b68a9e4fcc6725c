"""From rows to a report."""

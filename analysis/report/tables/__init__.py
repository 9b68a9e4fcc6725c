"""The tables of a report, one description for every format."""

"""The meter of complexity: what κ a scorer has on real weights."""

from sics_plugin.complexity.meter import measure as measure

"""The meter of complexity: what κ a scorer has on real weights."""

from sics_plugin.complexity.meter import SPARSITIES, measure, measure_units
from sics_plugin.complexity.result import Complexity, ComplexityAt, Share, Surface

__all__ = ["SPARSITIES", "Complexity", "ComplexityAt", "Share", "Surface", "measure", "measure_units"]

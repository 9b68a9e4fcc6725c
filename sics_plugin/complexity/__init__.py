"""The meter of complexity: what κ a scorer has on real weights."""

from sics_plugin.complexity.meter import SPARSITIES as SPARSITIES
from sics_plugin.complexity.meter import measure as measure
from sics_plugin.complexity.meter import measure_units as measure_units
from sics_plugin.complexity.result import Complexity as Complexity
from sics_plugin.complexity.result import ComplexityAt as ComplexityAt
from sics_plugin.complexity.result import Share as Share
from sics_plugin.complexity.result import Surface as Surface

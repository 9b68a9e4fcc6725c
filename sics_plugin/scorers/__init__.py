"""A score per unit: the base class, the registry, the SICS classes and the published ones."""

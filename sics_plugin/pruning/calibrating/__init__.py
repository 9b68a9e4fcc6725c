"""Choosing between masks of a model by what they do to it, on held-out data or on the calibration batches."""

"""Trained networks of others, each a task: weights that packages ship, and a signal that can be computed without a network."""

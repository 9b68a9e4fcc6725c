"""What of a model can be pruned, by which names, and the masks on it."""

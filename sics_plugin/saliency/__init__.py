"""The auxiliary signal of a model, collected from batches or from the weights."""

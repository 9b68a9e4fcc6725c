"""What of a model can be pruned, and the masks on it: weights, groups of channels, and what is left of them."""

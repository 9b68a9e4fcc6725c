"""The scorers inside torch.nn.utils.prune."""

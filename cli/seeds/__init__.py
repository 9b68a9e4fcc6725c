"""One seed's numbers: dense network, saliency, masks, evaluations."""

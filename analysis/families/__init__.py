"""Several scorers at once, errors controlled over all of them."""

"""One file a family of signals: input norms, gradients and what is made of them, sample by sample too, and of weights alone."""

"""One command's run: what is missing, who computes it, what comes back."""

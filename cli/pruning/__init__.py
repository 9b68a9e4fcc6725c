"""One checkpoint in, one pruned checkpoint out."""

"""Group-sequential looks: when seeds are counted, at which level, and what that makes of p-values and intervals."""

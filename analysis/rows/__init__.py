"""From a frame to paired differences: columns, arms, contrasts."""

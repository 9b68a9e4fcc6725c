"""What is asked for: the configuration, the presets, the seeds of all randomness."""

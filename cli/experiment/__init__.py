"""Keys and cells: what a run consists of, and what it costs."""

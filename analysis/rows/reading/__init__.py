"""A table of anybody's results, long or wide, to rows under the project's names."""

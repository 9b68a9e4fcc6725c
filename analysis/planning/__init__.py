"""Before a run: power, and the seeds it takes."""

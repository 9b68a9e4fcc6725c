"""One SQLite file a run, and the letters that workers send to it."""

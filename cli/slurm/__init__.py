"""Jobs of a queue that outlive the command."""

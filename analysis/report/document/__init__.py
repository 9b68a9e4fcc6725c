"""What a report says, as plain data that is written and read as JSON."""

"""What everything else stands on: errors, files, hashes, versions."""

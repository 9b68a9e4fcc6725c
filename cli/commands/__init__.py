"""The commands of sics-run, one file each."""

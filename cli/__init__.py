"""sics_cli: the `sics-run` command line, thin commands over `sics_cli.experiment`."""

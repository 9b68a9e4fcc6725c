"""One module per command of `sics-run`; `sics_cli.main` loads each only when it is asked for."""

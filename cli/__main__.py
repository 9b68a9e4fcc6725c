"""`python -m sics_cli` is `sics-run`."""

import sys

from sics_cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m routinectl` is routinectl."""

import sys

from routinectl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m neuraxis`."""

import sys

from neuraxis.cli import main

if __name__ == "__main__":
    sys.exit(main())

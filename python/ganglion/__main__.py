"""`python -m ganglion` is the command `ganglion`."""

from __future__ import annotations

import sys

from ganglion.cli import main

if __name__ == "__main__":
    sys.exit(main())

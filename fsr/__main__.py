"""``python -m fsr`` is the command ``fsr``."""

import sys

from fsr.cli import main

if __name__ == "__main__":
    sys.exit(main())

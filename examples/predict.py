"""`fsr predict` under its old name, for this release."""

import sys

from fsr.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]], prog="predict.py"))

"""`fsr export` under its old name, for this release."""

import sys

from fsr.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]], prog="export_pseudo_labels.py"))

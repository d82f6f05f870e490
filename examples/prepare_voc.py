"""`fsr prepare voc` under its old name, for this release."""

import sys

from fsr.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "voc", *sys.argv[1:]], prog="prepare_voc.py"))

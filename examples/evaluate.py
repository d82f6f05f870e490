"""`fsr evaluate` under its old name, for this release."""

import sys

from fsr.cli import main as fsr


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    return fsr(["evaluate", *words], prog="evaluate.py")


if __name__ == "__main__":
    sys.exit(main())

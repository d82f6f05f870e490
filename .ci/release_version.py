"""Exit with 0 if a tag names the package's version and the changelog has a section for it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def mismatch(tag: str, version_file: str, changelog: str) -> str | None:
    """Say what is wrong with releasing under a tag, or None.

    Args:
        tag: the tag's name, with its ``v``.
        version_file: text of ``fsr/_core/version.py``.
        changelog: text of ``CHANGELOG.md``.
    """
    found = re.search(r'^__version__ = "([^"]+)"$', version_file, re.MULTILINE)
    if found is None:
        return "fsr/_core/version.py: no line __version__ = ..."
    version = found.group(1)
    if tag != f"v{version}":
        return f"tag {tag}: the package's version is {version}, expected tag v{version}"
    if not re.search(rf"^## \[?{re.escape(version)}\b", changelog, re.MULTILINE):
        return f"CHANGELOG.md: no section for {version}"
    return None


def main(arguments: list[str]) -> int:
    """Check the tag that the command line names."""
    if len(arguments) != 1:
        print("usage: release_version.py TAG", file=sys.stderr)
        return 2
    version_file = (ROOT / "fsr/_core/version.py").read_text(encoding="utf-8")
    problem = mismatch(arguments[0], version_file, (ROOT / "CHANGELOG.md").read_text("utf-8"))
    if problem is not None:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

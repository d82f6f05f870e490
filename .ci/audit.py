#!/usr/bin/env python3
"""Look whether installed packages have known faults; the exit status is 1 where one has.

    .venv/bin/python .ci/audit.py

Where the advisories of the package index can be reached, pip-audit asks them for every package;
else the versions are compared with those of `advisories.txt`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path

from packaging.version import Version

ADVISORIES = Path(__file__).with_name("advisories.txt")
INDEX = "https://pypi.org/pypi/torch/2.5.0/json"  # has an advisory
FREEZE = (sys.executable, "-m", "pip", "freeze", "--exclude-editable")


def reachable() -> bool:
    """Whether the index answers with advisories."""
    try:
        with urllib.request.urlopen(INDEX, timeout=5) as answer:
            return b'"vulnerabilities":[{' in answer.read().replace(b": ", b":")
    except (OSError, urllib.error.URLError):
        return False


def ask() -> int:
    """Let pip-audit ask for every package; return its exit status."""
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "pip-audit"], check=True)
    listed = subprocess.run(FREEZE, check=True, capture_output=True, text=True).stdout
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(listed)
        file.flush()
        words = ["-m", "pip_audit", "--no-deps", "--disable-pip", "-r", file.name]
        return subprocess.run([sys.executable, *words]).returncode


def compare(text: str) -> list[str]:
    """Return a line for each installed package that is older than the first one without a fault."""
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, sound, advisory, fault = line.split(maxsplit=3)
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if Version(version) < Version(sound):
            found.append(f"{name} {version}: {fault} ({advisory}); take {sound} or later")
    return found


def main() -> int:
    """Ask or compare, say which, and return the exit status."""
    if reachable():
        return ask()
    found = compare(ADVISORIES.read_text())
    print("audit: advisories not reachable, compared with", ADVISORIES.name)
    print("\n".join(found) or "audit: no known fault")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())

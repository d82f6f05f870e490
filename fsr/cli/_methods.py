"""``fsr methods``: the methods that ``fsr train`` knows, and what each needs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from fsr.cli._outcome import DONE
from fsr.cli._parser import Parser, did_you_mean
from fsr.presets import METHODS, Method
from fsr.train import CONFIGS, config_names

SUMMARY = "List the methods that fsr train knows, and what each needs."
NOTES = """
  fsr methods                      # a paragraph each
  fsr methods toco                 # of one, with all its options
  fsr methods --json               # for programs
"""
GIVEN = {
    "two": "two views",
    "one": "one view",
    "padded": "a padded crop",
    "padded_and_second": "a padded crop and a second view",
    "labelled": "a padded crop and its label map",
}


def build_parser(prog: str) -> Parser:
    """Return the parser of this command."""
    parser = Parser(prog, SUMMARY, NOTES)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="METHOD",
        help="methods to tell everything of (default: all, in short)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: Sequence[str], prog: str) -> int:
    """Print what was asked for; return the exit status."""
    parser = build_parser(prog)
    options = parser.parse(argv)
    for name in options.names:
        if name not in METHODS:
            listed = ", ".join(METHODS)
            parser.error(f"expected a method ({listed}), got {name!r}{did_you_mean(name, METHODS)}")
    names = options.names or list(METHODS)
    if options.json:
        print(json.dumps([described(METHODS[name]) for name in names], indent=2, default=list))
        return DONE
    for name in names:
        print("\n".join(method_lines(METHODS[name], whole=bool(options.names))))
    return DONE


def described(method: Method) -> dict[str, Any]:
    """Return what a method is and needs, as plain data.

    Example:
        >>> described(METHODS["toco"])["encoder"]
        ['class_token']
    """
    return {
        "name": method.name,
        "title": method.title,
        "stages": method.stages,
        "encoder": sorted(method.offers),
        "views": method.views,
        "teacher": method.teacher,
        "configs": [name for name in config_names() if _base(name) == method.name],
        "options": method.to_dict(),
    }


def _base(name: str) -> str | None:
    """Return the method that a shipped file of options names, None if it names none."""
    text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    found = re.search(r"^  base: (\w+)", text, re.MULTILINE)
    return None if found is None else found[1]


def method_lines(method: Method, *, whole: bool) -> list[str]:
    """Return a method as lines of text.

    Args:
        method: its settings.
        whole: also list every option with its value.
    """
    told = described(method)
    needs = [", ".join(told["encoder"]) or "any"]
    if method.class_tokens:
        needs.append("one class token for each class")
    end = "a segmenter" if method.stages == 1 else "CAMs; train a segmenter on fsr export's labels"
    lines = [
        f"{method.name}: {method.title}",
        f"  encoder   {'; '.join(needs)}",
        f"  a step    {GIVEN[method.views]}{', an averaged teacher' if method.teacher else ''}",
        f"  gives     {end}",
        f"  configs   {', '.join(told['configs']) or f'preset.base={method.name}'}",
    ]
    if whole:
        lines += [f"  preset.{name}={value}" for name, value in told["options"].items()]
    return lines

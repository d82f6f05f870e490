"""Command-line options: a mistyped one is told first, with the name of the nearest."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence

from fsr.cli._outcome import STATUSES


class Parser(argparse.ArgumentParser):
    """Parses the options of one command.

    Argparse tells of missing options before it tells of unknown ones, so that whoever mistypes a
    required option reads that it is missing. Here unknown ones come first.

    Args:
        prog: what messages call the command.
        summary: what the command does, one line.
        notes: how it is used.
    """

    def __init__(self, prog: str, summary: str, notes: str) -> None:
        usage = notes.strip("\n")  # the indent of the first line stays
        super().__init__(
            prog=prog,
            description=f"{summary}\n\n{usage}",
            epilog=STATUSES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Return the options.

        Raises:
            SystemExit: with status 2 for a wrong option, with 0 after help.
        """
        for word in argv:
            if word == "--":
                break
            name = word.partition("=")[0]
            if _is_option(word) and name not in self._option_string_actions:
                known = [option for option in self._option_string_actions if option[:2] == "--"]
                self.error(f"unrecognized option {name}{did_you_mean(name, known)}")
        return self.parse_args(argv)


def _is_option(word: str) -> bool:
    """Tell whether argparse takes a word for an option: a dash, but no number, no space."""
    if not word.startswith("-") or word == "-" or " " in word:
        return False
    try:
        float(word)
    except ValueError:
        return True
    return False


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return a hint at the nearest of some words, or nothing if none is near.

    Example:
        >>> did_you_mean("--datset", ["--dataset", "--masks"])
        ' (did you mean --dataset?)'
    """
    # Dashes are alike in all options: they would bring any two short ones near.
    plain = {name.lstrip("-"): name for name in words}
    bare = word.lstrip("-")
    longer = [name for name in plain if len(bare) > 1 and name.startswith(bare)]
    near = longer or difflib.get_close_matches(bare, list(plain), n=1, cutoff=0.7)
    return f" (did you mean {plain[near[0]]}?)" if near else ""

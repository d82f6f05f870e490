"""Options that say how image files become pictures, for the commands that read photographs."""

from __future__ import annotations

import argparse
from typing import Any

from fsr.cli._types import positive_int
from fsr.data import Reading


def add_photograph_arguments(parser: argparse.ArgumentParser, *, usual: str) -> None:
    """Add how photographs are turned, what lies under alpha, their depth and their size.

    Args:
        parser: parser of a command.
        usual: how photographs are turned if no option says so.
    """
    group = parser.add_argument_group("photographs")
    ways = group.add_mutually_exclusive_group()
    ways.add_argument(
        "--as-stored",
        dest="orient",
        action="store_false",
        default=None,
        help="leave photographs as they are stored: ignore the EXIF rotation",
    )
    ways.add_argument(
        "--upright",
        dest="orient",
        action="store_true",
        default=None,
        help=f"turn photographs upright as their EXIF data say (default: {usual})",
    )
    group.add_argument(
        "--background",
        type=_colour,
        default="white",
        metavar="COLOUR",
        help="what lies under transparent pixels, a name or #rrggbb (default: white)",
    )
    group.add_argument(
        "--bits",
        type=_bits,
        metavar="N",
        help="bits of pixels that have more than 8 (default: as the file says, else 8 or 12 if "
        "these hold all its values, else 16)",
    )
    add_max_pixels(group)


def add_max_pixels(parser: Any) -> None:
    """Add how large an image may be."""
    parser.add_argument(
        "--max-pixels",
        type=positive_int,
        metavar="N",
        help="pixels that an image may have, as one takes several times its pixels in memory "
        "(default: 178956970)",
    )


def reading_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options as arguments of data sets and of predictions, those that were given."""
    given = {
        "orient": options.orient,
        "background": options.background,
        "bits": options.bits,
        "max_pixels": options.max_pixels,
    }
    return {name: value for name, value in given.items() if value is not None}


def _colour(text: str) -> str:
    """Return the name of a colour."""
    try:
        return Reading(background=text).background
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("background: ")) from None


def _bits(text: str) -> int:
    """Return a number of bits that pixels can have."""
    try:
        return Reading(bits=int(text)).bits or 0
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("bits: ")) from None

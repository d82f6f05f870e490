"""Masks as files of annotation tools: the options and the writing that commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fsr._core.files import clear_unfinished
from fsr._core.optional import import_extra
from fsr.cli._types import positive_float
from fsr.data import IMAGE_SUFFIXES
from fsr.formats import FORMATS, LabelledImage, write_annotations

Images = Callable[[], Iterator[LabelledImage]]


def add_format_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add the formats, and how masks become polygons."""
    group = parser.add_argument_group("annotation tools")
    group.add_argument(
        "--format",
        nargs="+",
        choices=tuple(FORMATS),
        default=[],
        required=required,
        metavar="FORMAT",
        help=f"write the masks as {', '.join(FORMATS)}"
        + (" (required)" if required else " too, into annotations (default: PNG alone)"),
    )
    group.add_argument(
        "--polygons",
        action="store_true",
        help="coco, cvat, labelstudio: polygons in place of masks (yolo has polygons always)",
    )
    group.add_argument(
        "--simplify",
        type=positive_float,
        default=0,
        metavar="PIXELS",
        help="how far polygons may leave the edges of the pixels, for fewer points "
        "(default: 0, exact)",
    )


def check_formats(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End with status 2 for options that have nothing to do."""
    drawn = options.polygons or "yolo" in options.format
    if options.polygons and not options.format:
        parser.error("--polygons: expected --format with it")
    if options.simplify and not (options.format and drawn):
        parser.error("--simplify: expected --format yolo or --polygons with it")


def require_formats(options: argparse.Namespace) -> None:
    """Raise for packages that are not installed, before work begins.

    Raises:
        ImportError: with the extra that brings them.
    """
    if "coco" in options.format and not options.polygons:
        import_extra("pycocotools", "formats", "COCO's run lengths")
    if options.format and (options.polygons or "yolo" in options.format):
        import_extra("shapely", "formats", "outlines of masks")


def write_formats(
    options: argparse.Namespace, folder: Path, images: Images, names: Sequence[str]
) -> list[str]:
    """Write every format asked for; return what went wrong: the others are written.

    Args:
        options: of the command.
        folder: where to write.
        images: yields the images with their masks, for each format anew.
        names: of the classes.
    """
    failed = []
    shape = {"polygons": options.polygons, "simplify": options.simplify}
    for form in dict.fromkeys(options.format):
        path = folder / FORMATS[form]
        clear_unfinished([path, path.with_suffix(".xml"), path / "data.yaml"])
        try:
            print(f"{write_annotations(folder, form, images(), names, **shape)}")
        except (ValueError, OSError) as error:
            failed.append(f"{path}: {error}" if str(path) not in str(error) else str(error))
    return failed


def image_of(mask: str, suffix: str) -> str:
    """Return the path of the image that a mask's name stands for.

    Args:
        mask: path of the mask without ``.png``.
        suffix: ending of the image.

    Example:
        >>> image_of("cats/1", ".jpeg"), image_of("a.png", ".png")
        ('cats/1.jpeg', 'a.png')
    """
    return mask if suffix and mask.lower().endswith(suffix.lower()) else f"{mask}{suffix}"


def known_suffix(images: Path | None, mask: str) -> str:
    """Return the ending of the image of a mask in a folder of images; ``.jpg`` without a folder."""
    if images is None:
        return "" if mask.lower().endswith(IMAGE_SUFFIXES) else ".jpg"
    for suffix in ("", *IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES)):
        if (images / f"{mask}{suffix}").is_file():
            return suffix
    raise FileNotFoundError(f"{images / mask}: expected an image of this name, got none")

"""A folder of YOLO's segmentation labels: a text per image, and data.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from fsr._core.files import whole_file
from fsr.errors import DataError
from fsr.formats._labelled import ClassMask, LabelledImage, check_names, checked, class_masks
from fsr.formats._outlines import without_holes


def write_yolo(
    folder: str | Path,
    images: Iterable[LabelledImage],
    class_names: Sequence[str],
    *,
    simplify: float = 0.0,
) -> None:
    """Write label maps as YOLO's segmentation labels.

    The folder gets ``labels/NAME.txt``, a line per region with the class from 0 and the points in
    parts of the picture, and ``data.yaml``, which looks for the pictures in ``images`` beside. A
    region with holes is several lines, as YOLO's polygons have no holes. An image without a class
    has an empty text.

    Args:
        folder: where to write; made if it does not exist. Every file appears whole or not at all.
        images: paths and label maps; they may come from a generator.
        class_names: C names.
        simplify: pixels that polygons may leave the mask's edges by, for fewer points; 0 leaves
            them exact.

    Raises:
        DataError: an image comes twice, or two differ in their endings alone.
        ImportError: shapely is not installed (extra ``formats``).
        TypeError: an argument has the wrong type.
        ValueError: a label, a name or a path cannot be written.
        OutputError: a file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_yolo(folder, [LabelledImage("a.jpg", torch.tensor([[0, 2]]))], ("cat", "dog"))
        >>> number, *points = (folder / "labels" / "a.txt").read_text().split()
        >>> number, sorted(zip(points[::2], points[1::2]))
        ('1', [('0.5', '0'), ('0.5', '1'), ('1', '0'), ('1', '1')])
    """
    folder = Path(folder).expanduser()
    names = check_names(class_names)
    written: dict[PurePosixPath, str] = {}
    for file, labels in checked(images, len(names)):
        name = PurePosixPath(file).with_suffix(".txt")
        other = written.setdefault(name, file)
        if other != file:
            raise DataError(f"images: {other!r} and {file!r} would both have the labels {name}")
        lines = [line for mask in class_masks(labels, names) for line in _lines(mask, simplify)]
        with whole_file(folder / "labels" / name) as draft:
            draft.write_text("".join(lines), encoding="utf-8")
    # Text of JSON is text of YAML.
    listed = [f"  {n}: {json.dumps(name, ensure_ascii=False)}\n" for n, name in enumerate(names)]
    head = "path: .\ntrain: images\nval: images\nnames:\n"
    with whole_file(folder / "data.yaml") as draft:
        draft.write_text(head + "".join(listed), encoding="utf-8")


def _lines(mask: ClassMask, simplify: float) -> list[str]:
    """Return a line per region, or per piece of one with holes."""
    height, width = mask.pixels.shape
    lines = []
    for pieces in without_holes(mask.pixels, simplify=simplify):
        for piece in pieces:
            points = (f"{x / width:.8g} {y / height:.8g}" for x, y in piece.outer)
            lines.append(f"{mask.number} {' '.join(points)}\n")
    return lines

"""Every format by its name, under one folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from fsr._core.checks import check_choice
from fsr.formats._coco import write_coco
from fsr.formats._cvat import write_cvat
from fsr.formats._labelled import LabelledImage
from fsr.formats._labelstudio import write_labelstudio
from fsr.formats._yolo import write_yolo

# What is written, by the name of the format.
FORMATS = {
    "coco": "coco.json",
    "cvat": "cvat.xml",
    "labelstudio": "labelstudio.json",
    "yolo": "yolo",
}


def write_annotations(
    folder: str | Path,
    form: str,
    images: Iterable[LabelledImage],
    class_names: Sequence[str],
    *,
    polygons: bool = False,
    simplify: float = 0.0,
) -> Path:
    """Write label maps in a format given by name.

    Args:
        folder: where to write; made if it does not exist.
        form: a name of :data:`FORMATS`: ``"coco"``, ``"cvat"``, ``"labelstudio"`` or ``"yolo"``.
        images: paths and label maps; they may come from a generator.
        class_names: C names.
        polygons: write polygons instead of masks; YOLO knows nothing else.
        simplify: pixels that polygons may leave the mask's edges by, for fewer points; 0 leaves
            them exact.

    Returns:
        The file, or the folder of YOLO's.

    Raises:
        ValueError: there is no such format; and all that the writer of the format raises.

    Example:
        >>> import tempfile, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> images = [LabelledImage("a.jpg", torch.tensor([[0, 1]]))]
        >>> write_annotations(folder, "cvat", images, ("cat",)).name
        'cvat.xml'
    """
    check_choice("form", form, tuple(FORMATS))
    path = Path(folder).expanduser() / FORMATS[form]
    if form == "yolo":
        write_yolo(path, images, class_names, simplify=simplify)
        return path
    write = {"coco": write_coco, "cvat": write_cvat, "labelstudio": write_labelstudio}[form]
    write(path, images, class_names, polygons=polygons, simplify=simplify)
    return path

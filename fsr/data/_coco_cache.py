"""A folder of masks drawn from one annotation file, filled by any number of processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from fsr._core.files import file_digest, looks_whole, whole_file
from fsr._core.regular import check_regular
from fsr.data._files import read_label_map, write_label_map
from fsr.errors import DataError

STAMP = "drawn-from.json"
# Goes up when label maps of the same annotations come out otherwise.
_DRAWING = 1


class MaskCache:
    """Masks as palette PNGs, with a stamp that says which annotation file they were drawn from.

    Several processes may fill the folder at once: each file appears whole or not at all, and all
    write the same.

    Args:
        folder: folder of the masks; made if need be.
        annotations: the annotation file; all of it is hashed, half a second for COCO's train.

    Raises:
        DataError: the folder holds masks of other annotations, or of unknown ones.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, annotations: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        own = {
            "drawing": _DRAWING,
            "annotations": annotations.name,
            "sha256": file_digest(annotations),
        }
        # Looked for before the stamp is read: another process writes its stamp before its masks.
        filled = next(folder.glob("*.png"), None) is not None
        stamp = _read_stamp(folder / STAMP)
        if stamp is None and not filled:
            _write_stamp(folder / STAMP, own)
        elif stamp != own:
            source = "unknown annotations" if stamp is None else "other annotations"
            raise DataError(
                f"{folder}: holds masks drawn from {source}, not from {annotations}; delete it or "
                "name another folder: cache="
            )

    def path(self, name: str) -> Path:
        """Return where the mask of an image belongs."""
        return self.folder / f"{name}.png"

    def read(self, name: str, num_classes: int, size: tuple[int, int]) -> Tensor | None:
        """Return the mask of an image, ``(height, width)`` int64, None if it is to be drawn.

        A file that ends before its end, as after a full disk, counts as not there.

        Args:
            name: name of the image.
            num_classes: number of foreground classes C.
            size: width and height of the image.

        Raises:
            DataError: the file is damaged or was changed.
        """
        path = self.path(name)
        if not path.is_file() or not looks_whole(path):
            return None
        try:
            return read_label_map(path, num_classes, size)
        except DataError as error:
            raise DataError(f"{error}; delete the file to have it drawn again") from error

    def write(self, name: str, labels: Tensor, num_classes: int | None = None) -> None:
        """Keep the mask of an image."""
        write_label_map(self.path(name), labels, num_classes)


def _read_stamp(path: Path) -> Any:
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); delete its folder") from error


def _write_stamp(path: Path, stamp: dict[str, Any]) -> None:
    with whole_file(path) as draft:
        draft.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")

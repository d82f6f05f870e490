"""Results as files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fsr._core.files import looks_whole, save_jpeg, whole_file
from fsr.data import Reading, ReadingChanges, write_label_map
from fsr.errors import DataError
from fsr.inference._photograph_search import holds_classes
from fsr.inference._prediction import Prediction
from fsr.inference._settings import SETTINGS
from fsr.visualize import legend, overlay

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PredictionWriter:
    """Writes predictions into a folder.

    The folder gets ``masks/NAME.png`` (palette PNG, label indices in VOC's colours; greyscale of 16
    bits for more than 254 classes), and if asked for ``overlays/NAME.jpg`` with the colours'
    ``legend.png`` and ``probabilities/NAME.npz``, whose array ``probabilities`` is
    ``(C + 1, height, width)`` float16. ``classes.txt`` names label n in
    line n + 1, background first.

    Args:
        folder: where to write; made if it does not exist. Files of the same names are replaced.
        class_names: names of the C classes.
        overlays: write overlays.
        probabilities: write probabilities.
        reading: how the photographs of overlays are read, fields of :class:`fsr.data.Reading`;
            as they were for the prediction.

    Example:
        >>> import tempfile, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> writer = PredictionWriter(folder, ("cat",))
        >>> writer.write(Prediction(folder / "a.jpg", "a", torch.tensor([[0, 1]]), None, None))
        >>> sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
        ['classes.txt', 'masks/a.png']
        >>> writer.complete("a"), writer.complete("b")
        (True, False)
    """

    def __init__(
        self,
        folder: str | Path,
        class_names: Sequence[str],
        *,
        overlays: bool = False,
        probabilities: bool = False,
        **reading: Unpack[ReadingChanges],
    ) -> None:
        self.folder = Path(folder)
        self.overlays = overlays
        self.probabilities = probabilities
        self.num_classes = len(class_names)
        self.reading = Reading(**reading)
        write_class_names(self.folder / "classes.txt", class_names)
        if overlays:
            with whole_file(self.folder / "overlays" / "legend.png") as draft:
                legend(class_names).save(draft, format="PNG")

    def complete(self, name: str) -> bool:
        """Tell whether all files of a result are there, each to its end."""
        return all(map(looks_whole, self.files(name)))

    def files(self, name: str) -> list[Path]:
        """Return the files of a result, the mask last."""
        paths = self._paths(name)
        return [*(path for kind, path in paths.items() if kind != "masks"), paths["masks"]]

    def write(self, prediction: Prediction) -> None:
        """Write the files of one result; the mask comes last.

        Raises:
            ValueError: the prediction holds an error, or no probabilities though they are to be
                written.
            DataError: the image of an overlay cannot be read.
            OutputError: a file cannot be written; the message names it and the way out.
        """
        labels = prediction.labels
        if labels is None:
            raise ValueError(f"prediction: {prediction.name!r} holds an error: {prediction.error}")
        paths = self._paths(prediction.name)
        if self.probabilities:
            if prediction.probabilities is None:
                raise ValueError(
                    f"prediction: {prediction.name!r} holds no probabilities; "
                    "predict with probabilities=True"
                )
            write_probabilities(paths["probabilities"], prediction.probabilities)
        if self.overlays:
            image = self.reading.image(prediction.path)
            with whole_file(paths["overlays"]) as draft:
                save_jpeg(overlay(image, labels), draft, quality=90)
        write_label_map(paths["masks"], labels, self.num_classes)

    def _paths(self, name: str) -> dict[str, Path]:
        """Files of a result by folder."""
        suffixes = {"masks": ".png"}
        if self.overlays:
            suffixes["overlays"] = ".jpg"
        if self.probabilities:
            suffixes["probabilities"] = ".npz"
        return {kind: self.folder / kind / f"{name}{end}" for kind, end in suffixes.items()}


def check_own(folder: Path) -> None:
    """Raise if the folders that results go to hold files that no prediction wrote.

    Args:
        folder: the folder that they are in.

    Raises:
        DataError: they do; nobody's own masks are replaced.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> check_own(folder)
        >>> (folder / "masks").mkdir()
        >>> _ = (folder / "masks/a.png").write_bytes(b"drawn by hand")
        >>> check_own(folder)
        Traceback (most recent call last):
            ...
        fsr.errors.DataError: .../masks: holds files that no prediction wrote; ...
    """
    if (folder / SETTINGS).is_file() or holds_classes(folder):
        return
    for name in ("masks", "overlays", "probabilities"):
        inside = folder / name
        if inside.is_dir() and next(inside.iterdir(), None) is not None:
            raise DataError(
                f"{inside}: holds files that no prediction wrote; write to another folder, so that "
                "none of them is replaced"
            )


def write_probabilities(path: Path, probabilities: Tensor) -> None:
    """Write probabilities as compressed float16.

    Args:
        path: ``.npz`` file; its folder is made. The array is called ``probabilities`` and loads
            with ``allow_pickle=False``.
        probabilities: ``(C + 1, height, width)``.
    """
    values = probabilities.float().cpu().numpy().astype(np.float16)
    # Packed in memory: on a full disk the packer would try, and complain, once more at its end.
    packed = BytesIO()
    np.savez_compressed(packed, probabilities=values)
    with whole_file(path) as draft:
        draft.write_bytes(packed.getvalue())


def write_class_names(path: Path, class_names: Sequence[str]) -> None:
    """Write the name of label n in line n + 1, ``background`` first.

    Raises:
        ValueError: a name holds a line break.
    """
    for name in class_names:
        if len(name.splitlines()) > 1:
            raise ValueError(f"class_names: expected names of one line, got {name!r}")
    with whole_file(path) as draft:
        draft.write_text("\n".join(["background", *class_names]) + "\n", encoding="utf-8")

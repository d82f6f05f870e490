"""A folder that predictions are written to: one run at a time, and only what still holds stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsr._core.alone import alone_in
from fsr._core.files import clear_unfinished
from fsr.inference._made_of import UNKNOWN, Made, Stamp, made_of_file, stamp_of
from fsr.inference._photographs import ImageFile
from fsr.inference._prediction import Prediction
from fsr.inference._records import RECORDS, Records
from fsr.inference._settings import SETTINGS, record_settings, settings_fingerprint
from fsr.inference._writing import PredictionWriter


class PredictionFolder:
    """Predictions in a folder beside the settings and images that made them.

    Made by :meth:`open`, which holds the folder. A result is kept if it was made with the same
    settings, of an image of the same content, and its files are as they were written; all others
    are made anew.

    Args:
        writer: writes the files.
        settings: what makes the results.

    Example:
        >>> import tempfile, torch
        >>> from PIL import Image
        >>> place = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (2, 1)).save(place / "a.png")
        >>> files = [ImageFile(place / "a.png", "a")]
        >>> settings = {"flip": True}
        >>> with PredictionFolder.open(place / "out", settings, class_names=("cat",)) as folder:
        ...     for path, name in folder.missing(files):
        ...         folder.write(Prediction(path, name, torch.tensor([[0, 1]]), None, None))
        ...     folder.missing(files)
        []
    """

    def __init__(self, writer: PredictionWriter, settings: Mapping[str, Any]) -> None:
        self.writer = writer
        self.records = Records(writer.folder)
        self._settings = settings_fingerprint(settings)
        self._seen: dict[str, Stamp | None] = {}

    @classmethod
    @contextmanager
    def open(
        cls, folder: Path, settings: Mapping[str, Any], **options: Any
    ) -> Iterator[PredictionFolder]:
        """Hold a folder, and record the settings in it.

        Args:
            folder: made if it is not there.
            settings: what makes the results, see :func:`record_settings`.
            options: of :class:`PredictionWriter`.

        Raises:
            BusyError: another run is writing into the folder.
            SettingsError: it was begun with other settings.
            OutputError: it cannot be written.
        """
        with alone_in(folder):
            record_settings(folder, settings)
            own = ("classes.txt", SETTINGS, RECORDS, "overlays/legend.png")
            clear_unfinished(folder / name for name in own)
            made = cls(PredictionWriter(folder, **options), settings)
            yield made
            made.records.tidy()

    def missing(self, files: Sequence[ImageFile], *, anew: bool = False) -> list[ImageFile]:
        """Return the image files without a result that can stay.

        Args:
            files: all of them; what killed runs left of their results is taken away.
            anew: whether results that could stay are made anew all the same.
        """
        paths = (path for file in files for path in self.writer.files(file.name))
        clear_unfinished(paths)
        self._seen = {file.name: stamp_of(file.path) for file in files}
        return [file for file in files if anew or not self._stays(file)]

    def write(self, prediction: Prediction) -> None:
        """Write the files of one result, and what it was made of.

        Raises:
            DataError: the image of an overlay cannot be read.
            OutputError: a file cannot be written.
        """
        name = prediction.name
        files = self.writer.files(name)
        self.records.begin(name, files)
        self.writer.write(prediction)
        self.records.finish(name, self._made(prediction.path, name), files)

    def _stays(self, file: ImageFile) -> bool:
        """Tell whether a result can stay."""
        if self.records.made(file.name) is None:
            return False
        made = self._made(file.path, file.name)
        return self.records.keeps(file.name, made, self.writer.files(file.name))

    def _made(self, path: Path, name: str) -> Made:
        """Return what a result is made of; an image that changed under way is not known."""
        try:
            made = made_of_file(path, self._settings, self.records.made(name))
        except OSError:  # whoever reads it tells
            return UNKNOWN
        return made if name in self._seen and stamp_of(path) == self._seen[name] else UNKNOWN

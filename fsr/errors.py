"""The errors that the package raises; each is a ``ValueError`` and names what was wrong.

Catch these, or the built-in classes that they derive from. Wrong types raise plain ``TypeError``.
What the system refuses to write is no wrong value: an ``OSError`` of its own kind.
"""

from __future__ import annotations

import os

__all__ = [
    "BusyError",
    "ConfigError",
    "DataError",
    "ExportError",
    "InputError",
    "MissingDataError",
    "NotFiniteError",
    "OutputError",
    "ResourceError",
    "SettingsError",
    "ShapeError",
]


class ShapeError(ValueError):
    """A tensor has the wrong rank or a size that does not fit the other arguments."""


class DataError(ValueError):
    """A file of a data set holds something that cannot be used."""


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder of a data set is not there."""


class SettingsError(ValueError):
    """A folder holds results that were made with other settings."""


class BusyError(SettingsError):
    """Another run is writing into the folder."""


class OutputError(OSError):
    """A file or folder of results cannot be written; the message is one line with the way out.

    Args:
        message: what ``str`` gives.
        number: the system's error number, which becomes ``errno``; None if it gave none.
    """

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message, number)
        self.message = message
        self.errno = number
        self.strerror = None if number is None else os.strerror(number)

    def __str__(self) -> str:
        return self.message


class ConfigError(ValueError):
    """An option of a training run cannot be used; the message is one line that names it."""


class InputError(ValueError):
    """Data or weights of a training run cannot be read; the message is one line that names them."""


class NotFiniteError(ValueError, ArithmeticError):
    """A loss or the gradient of a training run is NaN or infinite; the message names the step."""


class ResourceError(ValueError, RuntimeError):
    """A training run lacks disk, memory or a process; the message is one line with the way out."""


class ExportError(ValueError, RuntimeError):
    """A network cannot be written for use elsewhere, or what was written differs from it."""

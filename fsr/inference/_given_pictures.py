"""Pictures as people hand them over, one or many, files or in memory, as a list of sources."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from fsr.data import BAND_SUFFIXES, IMAGE_SUFFIXES
from fsr.errors import MissingDataError
from fsr.inference._photographs import ImageFile, find_images


class Given(NamedTuple):
    """Pictures that were handed over.

    Attributes:
        files: a file for each, or what messages call one in memory.
        values: the pictures in memory, None for files.
        single: whether one picture was handed over, not a list.
    """

    files: list[ImageFile]
    values: list[Any]
    single: bool


def given_pictures(images: Any, bands: int = 3) -> Given:
    """List pictures.

    Args:
        images: a path, a PIL image, an array or a tensor; a batch of four axes; a folder, which
            stands for all images in it; or several of these.
        bands: bands of the network, which say what files of a folder are images.

    Raises:
        MissingDataError: a path does not exist.
        DataError: a folder holds no image.
        TypeError: something is no picture.

    Example:
        >>> given = given_pictures([Image.new("RGB", (2, 2)), np.zeros((2, 2))])
        >>> [file.name for file in given.files], given.single
        (['images[0]', 'images[1]'], False)
    """
    if _is_batch(images):
        several, single = list(images), False
    elif isinstance(images, (str, os.PathLike, Image.Image, np.ndarray, torch.Tensor)):
        several, single = (
            [images],
            not (isinstance(images, (str, os.PathLike)) and Path(images).is_dir()),
        )
    elif isinstance(images, Iterable):
        several, single = list(images), False
    else:
        raise TypeError(
            "images: expected a path, a PIL image, an array, a tensor or a list of them, got "
            f"{type(images).__name__}"
        )
    files: list[ImageFile] = []
    values: list[Any] = []
    for number, one in enumerate(several):
        if _is_path(one):
            found = _files(Path(one), bands)
            files += found
            values += [None] * len(found)
        else:
            name = "image" if single else f"images[{number}]"
            if not isinstance(one, (Image.Image, np.ndarray, torch.Tensor)):
                raise TypeError(
                    f"{name}: expected a path, a PIL image, an array or a tensor, got "
                    f"{type(one).__name__}"
                )
            files.append(ImageFile(Path(name), name))
            values.append(one)
    return Given(files, values, single)


def suffixes_for(bands: int) -> tuple[str, ...]:
    """Return what files of a folder are taken for images of a network of so many bands."""
    return IMAGE_SUFFIXES if bands == 3 else BAND_SUFFIXES


def _files(path: Path, bands: int) -> list[ImageFile]:
    """Return the file at a path, or the images in the folder there."""
    if path.is_dir():
        return find_images(path, suffixes=suffixes_for(bands))
    if not path.exists():
        raise MissingDataError(f"{path}: no such file or folder")
    return [ImageFile(path, path.stem)]


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _is_batch(value: Any) -> bool:
    return isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim == 4

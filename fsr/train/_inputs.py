"""What data and weights raise, in words for the one who started the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsr.data import FolderDataset, Reading
from fsr.errors import ConfigError, DataError, InputError
from fsr.train._labels import look_at_labels
from fsr.train._loading import usable_cores
from fsr.train._options import Config

NAMED = 10  # broken images; beyond, their number is told


@contextmanager
def readable() -> Iterator[None]:
    """Turn what data and weights raise into an `InputError` of one line."""
    try:
        yield
    except (ConfigError, InputError):
        raise
    except ConnectionError as error:
        raise InputError(
            f"{str(error).partition('; ')[0]}; without a network: model.pretrained=FILE, a file of "
            "them, or model.pretrained=false for random weights"
        ) from error
    except (OSError, ValueError, ImportError) as error:
        # A worker process puts the traceback into the message; its last line is the message.
        text = next(line for line in reversed(str(error).splitlines() or ["?"]) if line.strip())
        raise InputError(text) from error


def look_over(config: Config, train: Any, evaluation: Any) -> tuple[str, tuple[str, ...]]:
    """Look over images, labels and masks before the first step.

    Args:
        config: options of the run.
        train: what is trained on.
        evaluation: what is evaluated on.

    Returns:
        A line on why the run cannot start, empty if it can; and lines to warn with.
    """
    try:
        broken = check_images(train, evaluation)
        return broken, () if broken else look_at_labels(config, train, evaluation)
    # A process that raises alone would leave the others waiting.
    except DataError as error:
        return str(error), ()


def check_images(train: Any, evaluation: Any) -> str:
    """Look at every image of one's own folder before the first step; return what to put right.

    The official data sets are taken as they are. A run of hours must not end at its first
    evaluation for a file that could have been named at the start, nor name one file at a time.

    Args:
        train: what is trained on.
        evaluation: what is evaluated on.

    Returns:
        One line that names the broken files and says whether any is trained on; empty if none is.
    """
    trained, held_out = _files(train), _files(evaluation)
    reading = getattr(getattr(train, "dataset", train), "reading", Reading())
    broken = broken_images(dict.fromkeys([*trained, *held_out]), reading)
    if not broken:
        return ""
    where = "all of them in data.eval_labels alone" if not broken.keys() & set(trained) else ""
    named = "; ".join(list(broken.values())[:NAMED])
    more = f"; and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
    if len(broken) == 1:
        return named + (" (it is in data.eval_labels alone)" if where else "")
    counted = f"{len(broken)} images cannot be read" + (f", {where}" if where else "")
    return f"{counted}: {named}{more}"


def broken_images(paths: Iterable[Path], reading: Reading) -> dict[Path, str]:
    """Return the files that cannot be read as they will be, each with the reader's words for it."""
    paths = list(paths)
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        found = pool.map(reading.fault, paths)
    return {path: fault for path, fault in zip(paths, found, strict=True) if fault}


def _files(dataset: Any) -> list[Path]:
    """Return the image files of one's own folder; none for other data sets."""
    whole = getattr(dataset, "dataset", dataset)
    if not isinstance(whole, FolderDataset):
        return []
    return [whole.image_path(index) for index in range(len(dataset))]

"""What a result is made of: the content of its image, its labels, the settings, as one digest.

A file's content is its SHA-256: copied or unpacked again it is the same file, and another content
under the same name, size and time is another. Reading ten thousand photographs for that would take
longer than looking at them, so a content that was read once is known again by what the system says
of the file: size, time of the last change to its content, and to its entry, which no program sets.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from fsr.data import Sample
from fsr.inference._provenance import file_hash, fingerprint, tensors_hash

# What changes again within the grain of a file system's clock shows the same time.
_GRAIN_NS = 2_000_000_000

Stamp = tuple[int, int, int]


class Made(NamedTuple):
    """What a result is made of.

    Attributes:
        digest: of everything: another one means another result.
        content: SHA-256 of the image file; empty where there is none.
        stamp: what the system said of that file; None if that would not tell a change.
    """

    digest: str
    content: str = ""
    stamp: Stamp | None = None


# Of an image that changed while it was read: no result is made of that.
UNKNOWN = Made("")


def stamp_of(path: Path) -> Stamp | None:
    """Return size and times of a file, None without a file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> nothing, _ = stamp_of(path), path.write_text("abc")
        >>> nothing, stamp_of(path)[0]
        (None, 3)
    """
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def made_of_file(path: Path, others: Any, before: Made | None = None) -> Made:
    """Return what a result is made of whose image is a file.

    Args:
        path: the image.
        others: labels and settings, as plain data.
        before: what an earlier result of that name was made of: its content is not read again if
            the system says the same of the file.

    Raises:
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.jpg"
        >>> _ = path.write_bytes(b"pixels")
        >>> one = made_of_file(path, ["cat"])
        >>> one == made_of_file(path, ["cat"], one), one.digest == made_of_file(path, []).digest
        (True, False)
    """
    now = stamp_of(path)
    if before is not None and before.stamp is not None and before.stamp == now:
        content = before.content
    else:
        content = file_hash(path)
    lately = now is None or time.time_ns() - max(now[1:]) < _GRAIN_NS
    return Made(fingerprint([others, content]), content, None if lately else now)


def made_of_sample(sample: Sample, others: Any) -> Made:
    """Return what a result is made of whose sample had to be read: its pixels and labels.

    Example:
        >>> import torch
        >>> from PIL import Image
        >>> sample = Sample(Image.new("RGB", (4, 3)), torch.tensor([0.0, 1.0]), None, "0001")
        >>> other = sample._replace(labels=torch.tensor([1.0, 0.0]))
        >>> made_of_sample(sample, 0) == made_of_sample(sample._replace(name="0002"), 0)
        True
        >>> made_of_sample(sample, 0) == made_of_sample(other, 0)
        False
    """
    image = sample.image
    pixels = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()
    return Made(fingerprint([others, pixels, spelled_labels(sample.labels)]))


def content_of(sample: Sample) -> str:
    """Return the digest of all that a score depends on in a sample: pixels, labels, mask."""
    target = {} if sample.target is None else {"target": sample.target}
    return made_of_sample(sample, tensors_hash(target)).digest


def spelled_labels(labels: Tensor) -> str:
    """Return labels as a word of their own."""
    return tensors_hash({"labels": labels.double()})[:16]

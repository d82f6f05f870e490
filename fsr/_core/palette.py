"""The colours of PASCAL VOC's label maps."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from fsr._core.integers import check_positive_int
from fsr._core.label_values import WIDE_IGNORE


def voc_palette(labels: int = 256) -> NDArray[np.uint8]:
    """Colours of the labels 0 to 255, ``(256, 3)``, read-only; 255 is the pale ignored one.

    Args:
        labels: number of labels, up to 65536; of more than 256 the last is the ignored one, almost
            white by VOC's rule.

    Source:
        Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 2015:
        a label's bits are dealt out to red, green and blue, from the highest bit down.

    Example:
        >>> voc_palette()[[0, 1, 2, 15, 255]].tolist()
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192]]
    """
    check_positive_int("labels", labels)
    if labels > WIDE_IGNORE + 1:
        raise ValueError(f"labels: expected at most {WIDE_IGNORE + 1}, got {labels}")
    return _colours(int(labels))


@functools.cache
def _colours(labels: int) -> NDArray[np.uint8]:
    numbers = np.arange(labels)
    colours = np.zeros((labels, 3), dtype=np.uint8)
    for level in range(8):
        for channel in range(3):
            bits = numbers >> (3 * level + channel) & 1
            colours[:, channel] |= (bits << (7 - level)).astype(np.uint8)
    colours.flags.writeable = False
    return colours

"""The colours of PASCAL VOC's label maps."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

IGNORED_COLOUR = (224, 224, 192)


@functools.cache
def voc_palette() -> NDArray[np.uint8]:
    """Colours of the labels 0 to 255, ``(256, 3)``, read-only; 255 is the pale ignored one.

    Source:
        Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 2015:
        a label's bits are dealt out to red, green and blue, from the highest bit down.

    Example:
        >>> voc_palette()[[0, 1, 2, 15, 255]].tolist()
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192]]
    """
    labels = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for level in range(8):
        for channel in range(3):
            bits = labels >> (3 * level + channel) & 1
            colours[:, channel] |= (bits << (7 - level)).astype(np.uint8)
    colours[255] = IGNORED_COLOUR
    colours.flags.writeable = False
    return colours

"""Which label stands for no class, by the number of classes."""

from __future__ import annotations

from fsr._core.arguments import check_int
from fsr._core.integers import check_positive_int
from fsr._core.label_values import BACKGROUND as BACKGROUND
from fsr._core.label_values import BYTE_CLASSES as BYTE_CLASSES
from fsr._core.label_values import IGNORE as IGNORE
from fsr._core.label_values import MOST_CLASSES as MOST_CLASSES
from fsr._core.label_values import WIDE_IGNORE as WIDE_IGNORE


def ignore_label(num_classes: int) -> int:
    """Return the label of pixels to leave out, which is that of no class.

    Args:
        num_classes: number of foreground classes C.

    Returns:
        255 of at most 254 classes, whose label maps are bytes, and else 65535, the last of 16 bits.

    Raises:
        TypeError: ``num_classes`` is no integer.
        ValueError: it is below 1, or above the 65534 that a mask of 16 bits holds.

    Example:
        >>> ignore_label(20), ignore_label(254), ignore_label(255)
        (255, 255, 65535)
    """
    check_positive_int("num_classes", num_classes)
    if num_classes > MOST_CLASSES:
        raise ValueError(
            f"num_classes: expected at most {MOST_CLASSES}, which label maps of 16 bits hold, "
            f"got {num_classes}"
        )
    return IGNORE if num_classes <= BYTE_CLASSES else WIDE_IGNORE


def chosen_ignore(ignore_index: int | None, num_classes: int) -> int:
    """Return the label to leave out that a caller chose, or that of the number of classes.

    Example:
        >>> chosen_ignore(None, 20), chosen_ignore(7, 20)
        (255, 7)
    """
    if ignore_index is None:
        return ignore_label(max(1, num_classes))
    check_int("ignore_index", ignore_index)
    return ignore_index


def check_byte_classes(what: str, num_classes: int) -> None:
    """Raise ``ValueError`` if something that knows labels of a byte alone is to have more classes.

    Example:
        >>> check_byte_classes("ClassMix", 300)
        Traceback (most recent call last):
            ...
        ValueError: ClassMix: expected at most 254 classes, since its label maps are bytes, got 300
    """
    if num_classes > BYTE_CLASSES:
        raise ValueError(
            f"{what}: expected at most {BYTE_CLASSES} classes, since its label maps are bytes, "
            f"got {num_classes}"
        )

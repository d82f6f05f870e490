"""Imports of optional packages, with an error that names the extra to install."""

from __future__ import annotations

import importlib
from types import ModuleType


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import ``module`` or raise an ``ImportError`` that says which extra provides it.

    Args:
        module: dotted module name.
        extra: name of the extra of this distribution that installs it.
        purpose: what needs it, for the message.

    Raises:
        ImportError: the module is not installed.

    Example:
        >>> import_extra("math", "viz", "this example").sqrt(4.0)
        2.0
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise ImportError(
            f"{purpose} needs the package {top!r}: pip install 'fsr-wsss[{extra}]'"
        ) from error

"""One call with spoiled arguments, and whether what came of it is right."""

from __future__ import annotations

import copy
import re
import traceback
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

import fsr
from tests.helpers import tensors_of
from tests.trust.good_arguments import Call

PACKAGE = str(Path(fsr.__file__).parent)


def fault_of(call: Call, changes: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a call whose arguments were changed; None if all is right.

    Right is a result of finite numbers, or an error of the package's own that names an argument.
    """
    arguments = {**{name: _copied(value) for name, value in call.arguments.items()}, **changes}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call.function(**arguments)
    except (ValueError, TypeError) as error:
        return _fault_of_error(error, (*arguments, *call.also))
    except (ImportError, ConnectionError) as error:
        told = any(word in str(error) for word in ("pip install", "cannot be fetched"))
        return None if told else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    if call.infinite:
        return None
    for tensor in tensors_of(result):
        if tensor.is_meta or not tensor.is_floating_point() or bool(tensor.isfinite().all()):
            continue
        return f"a result that is not finite, of shape {tuple(tensor.shape)}"
    if isinstance(result, float) and not abs(result) < float("inf"):
        return f"the result {result}"
    return None


def _fault_of_error(error: Exception, names: Iterable[str]) -> str | None:
    """Return what is wrong with an error: whose it is, or what it does not name."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error)
    if not last.filename.startswith(PACKAGE):
        return f"{type(error).__name__} of {Path(last.filename).name}: {text[:200]}"
    named = any(re.search(rf"\b{re.escape(name)}(_options)?\b", text) for name in names)
    return None if named else f"names no argument: {type(error).__name__}: {text[:200]}"


def _copied(value: Any) -> Any:
    """A value that a call may change without changing the next call's."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    return copy.copy(value) if isinstance(value, (list, dict)) else value

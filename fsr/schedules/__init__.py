"""Schedules: pure functions of the step, as values that print, compare, copy and pickle.

``cosine(0.9995, 1.0, 20_000)`` is a function: call it with the step, get a plain float. Nothing
here counts steps, so a resumed run needs no state of a schedule. Past its end a schedule keeps its
last value. The classes are in lower case because they read as functions, as
:class:`functools.partial` does.
"""

from fsr.schedules._basic import (
    Schedule,
    constant,
    cosine,
    linear_warmup,
    run_momentum,
    switch,
    warmup_cosine,
)
from fsr.schedules._poly import two_poly, warmup_poly

__all__ = [
    "Schedule",
    "constant",
    "cosine",
    "linear_warmup",
    "run_momentum",
    "switch",
    "two_poly",
    "warmup_cosine",
    "warmup_poly",
]

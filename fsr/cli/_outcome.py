"""How a command ends: exit statuses, and bad input told in one line without a traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from fsr.cli._signals import ended_by_signals

DONE, BAD_INPUT, WRONG_OPTION, INTERRUPTED = 0, 1, 2, 130

STATUSES = (
    "exit status: 0 done, 1 something cannot be read (the rest is done where it can be),\n"
    "2 a wrong option, 130 interrupted"
)


def complain(prog: str, message: str) -> None:
    """Print an error in one line."""
    print(f"{prog}: error: {message}", file=sys.stderr)


def guarded(prog: str, work: Callable[[], int], *, again: str = "") -> int:
    """Do the work of a command; return its exit status, whatever the input was.

    SIGTERM and SIGHUP end it as Ctrl-C does.

    Args:
        prog: what messages call the command.
        work: returns the exit status.
        again: how to go on after an interruption.
    """
    try:
        with ended_by_signals():
            return work()
    except KeyboardInterrupt:
        print(f"{prog}: interrupted{again and f'; {again}'}", file=sys.stderr)
        return INTERRUPTED
    # What packages raise for input they cannot use; RuntimeError is torch's for a device.
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        complain(prog, one_line(error))
        return BAD_INPUT


def one_line(error: BaseException) -> str:
    r"""Return the message of an error in one line.

    Example:
        >>> one_line(ValueError("size: expected 3,\n  got 4"))
        'size: expected 3, got 4'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return repr(error)
    if any("Traceback (most recent call last)" in line for line in lines):
        # A worker process puts its traceback into the message: its last line is the message.
        return re.sub(r"^([\w.]+\.)?\w*Error: ", "", lines[-1])
    return " ".join(lines)

"""What a run shows on the terminal: lines, and a bar where there is a terminal to draw it on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Screen:
    """Shows lines and a progress bar; a terminal that is closed ends the bar, not the run.

    Args:
        tell: takes a line; None shows nothing, no bar either.

    Example:
        >>> Screen(print).say("step 1")
        step 1
        >>> Screen(None).say("step 1")
    """

    def __init__(self, tell: Callable[[str], None] | None) -> None:
        self._tell = tell
        self._bar: Any = None

    @property
    def has_bar(self) -> bool:
        """Whether a bar is shown, so that lines of progress are not needed."""
        return self._bar is not None

    def open(self, total: int, done: int) -> None:
        """Draw the bar, where the standard error is a terminal.

        Args:
            total: steps of the run.
            done: steps that are completed.
        """
        if self._tell is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            with self._drawing():
                self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """Show a line without breaking the bar."""
        if self._bar is not None:
            with self._drawing():
                self._bar.write(text)
        elif self._tell is not None:
            self._tell(text)

    def advance(self, loss: float, waited: float | None = None) -> None:
        """Move the bar by a step.

        Args:
            loss: of the step.
            waited: share of the time that steps wait for data, where it is known.
        """
        if self._bar is not None:
            shown = {} if waited is None else {"waited": f"{waited:.0%}"}
            with self._drawing():
                self._bar.update()
                self._bar.set_postfix(loss=f"{loss:.3f}", **shown, refresh=False)

    def evaluating(self, done: int, images: int) -> None:
        """Show beside the bar how far an evaluation is."""
        if self._bar is not None:
            with self._drawing():
                self._bar.set_postfix_str(f"evaluating {done}/{images}" if done < images else "")

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        try:
            yield
        except OSError:  # the terminal was closed
            self._bar.disable = True
            self._bar = None

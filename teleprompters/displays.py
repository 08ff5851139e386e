"""Where a run's progress is shown: a terminal, a notebook, plain lines, or nowhere.

A display serves the run and never the other way round: nothing that goes wrong in it reaches the run, and no call waits
for it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .picture import Picture

QUIET_SECONDS = 60.0
"""Plain lines: a run that said nothing for so long says where it is, if it moved."""

logger = logging.getLogger(__name__)

Look = Callable[[], Picture]
"""Takes a picture of the run."""


class Display(Protocol):
    """Shows a run."""

    draws: bool
    """Whether it draws the state of the run by itself; what is not drawn is said in lines."""

    def say(self, text: str) -> None:
        """Show a line."""
        ...

    def close(self) -> None:
        """Show no more."""
        ...


class Nothing:
    """Shows nothing."""

    draws = True

    def say(self, text: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """Prints lines on the standard error stream, and says where a silent run is now and then.

    Args:
        look: Takes a picture of the run. None: nothing is said but what is told.
    """

    draws = False

    def __init__(self, look: Look | None = None) -> None:
        self._look = look
        self._said, self._closed = threading.Event(), threading.Event()
        if look is not None:
            threading.Thread(target=self._remind, name="drpo-progress", daemon=True).start()

    def say(self, text: str) -> None:
        """Print a line."""
        self._said.set()
        with suppress(OSError, ValueError):  # whoever read the lines is gone, or the stream is closed
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the reminders."""
        self._closed.set()

    def _remind(self) -> None:
        calls = -1
        while not self._closed.wait(QUIET_SECONDS):
            with suppress(Exception):
                picture = self._look() if self._look else None
                if picture is not None and not self._said.is_set() and picture.calls != calls:
                    self.say(picture.line)
                calls = picture.calls if picture else calls
            self._said.clear()


def display(shown: bool | None, look: Look) -> Display:
    """Return the display for where this process runs.

    Args:
        shown: Whether anything is shown. None: in a notebook, or if the standard error stream is a terminal.
        look: Takes a picture of the run.
    """
    if not wanted(shown):
        return Nothing()
    try:
        if in_notebook():
            from .notebook_display import NotebookDisplay

            return NotebookDisplay(look)
        if is_terminal() and os.environ.get("TERM", "") not in ("", "dumb", "unknown"):
            from .live_display import LiveDisplay

            return LiveDisplay(look)
    except Exception as error:  # then lines do
        logger.debug("the progress cannot be drawn: %r", error)
    return Lines(look)


def wanted(shown: bool | None) -> bool:
    """Return whether anything is shown."""
    return (in_notebook() or is_terminal()) if shown is None else shown


def is_terminal() -> bool:
    """Return whether the standard error stream is a terminal."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # none, or a closed one
        return False


def in_notebook() -> bool:
    """Return whether this is a notebook's kernel: Jupyter, VS Code, Colab."""
    asked = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return asked is not None and getattr(asked(), "kernel", None) is not None

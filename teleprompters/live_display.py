"""Progress on a terminal: three lines that are redrawn in place, below the lines that were said.

level 2 of 4; 14 candidates, best +0.068 beside the seed
━━━━━━━━━━━━━━━━━━━━━━━━━━━╸                         212 of about 442 calls
153k tokens, $0.0213                                 1:42, about 3 min left
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from ..programs.boundary import visible
from .displays import Look

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

PER_SECOND = 4.0
"""How often it is redrawn."""
MARGIN = 4
"""Columns left free: the `^C` that a terminal writes behind the drawing must not begin a line of its own."""
WIDEST = 96
"""Columns that are used at most."""

_SCREEN = threading.Lock()
"""Held by the run that is drawn: two drawings on one terminal would paint over each other."""


class LiveDisplay:
    """Draws the state of a run, and lines above it.

    Args:
        look: Takes a picture of the run.
        file: The terminal. None: the standard error stream.
    """

    draws = True

    def __init__(self, look: Look, *, file: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        if not _SCREEN.acquire(blocking=False):
            raise RuntimeError("another run is drawn on this terminal")
        self._console = Console(file=cast(TextIO, _Tolerant(file or sys.stderr)), highlight=False)
        # What is piped away is no part of the terminal: `drpo compile --json > result.json`.
        on_screen = file is None and sys.stdout is not None and sys.stdout.isatty()
        self._live = Live(
            _Drawn(look), console=self._console, refresh_per_second=PER_SECOND, transient=True,
            redirect_stdout=on_screen, redirect_stderr=file is None,
        )  # fmt: skip
        self._live.start()

    def say(self, text: str) -> None:
        """Print a line above the drawing."""
        from rich.text import Text

        with suppress(Exception):
            self._console.print(Text(visible(text)))

    def close(self) -> None:
        """Clear the drawing; the lines stay."""
        with suppress(Exception):
            self._live.stop()
        with suppress(RuntimeError):  # closed before
            _SCREEN.release()


class _Drawn:
    """The drawing, made anew each time it is asked for."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        with suppress(Exception):
            yield from self._lines(min(options.max_width - MARGIN, WIDEST))

    def _lines(self, width: int) -> list[RenderableType]:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        picture = self._look()
        count = Text(picture.count, no_wrap=True)
        bar = ProgressBar(
            total=picture.planned, completed=min(picture.calls, picture.planned or 0), pulse=picture.planned is None
        )
        row = Table.grid(padding=(0, 1), expand=False)
        row.width = width
        row.add_column(ratio=1)
        row.add_column(justify="right")
        row.add_row(bar, count)
        title = _one_line(visible(picture.title), width)
        title.stylize("bold")
        left, right = picture.amounts, picture.times
        if len(left) + len(right) + 2 > width:  # the time says more than the amounts
            return [title, row, _one_line(right, width)]
        return [title, row, _one_line(left + right.rjust(width - len(left)), width)]


def _one_line(text: str, width: int) -> Text:
    from rich.text import Text

    line = Text(text, no_wrap=True)
    line.truncate(max(1, width), overflow="ellipsis")
    return line


class _Tolerant:
    """A stream that swallows what cannot be written: a terminal that was closed ends no run."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

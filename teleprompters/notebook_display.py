"""Progress in a notebook: one output that is updated in place. It needs IPython alone, no widgets."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from html import escape
from importlib import import_module

from ..programs.boundary import visible
from .displays import Look
from .picture import Picture

SECONDS = 1.0
"""Between two updates."""
LINES = 40
"""The last lines that are kept."""


class NotebookDisplay:
    """Shows lines and a bar in the output of a cell.

    Args:
        look: Takes a picture of the run.
    """

    draws = True

    def __init__(self, look: Look) -> None:
        shown = import_module("IPython.display")  # wherever there is a notebook, and needed nowhere else
        self._look, self._html = look, shown.HTML
        self._lines: deque[str] = deque(maxlen=LINES)
        self._output = shown.display(shown.HTML(page([], look())), display_id=True)
        self._closed = threading.Event()
        threading.Thread(target=self._keep_drawing, name="drpo-progress", daemon=True).start()

    def say(self, text: str) -> None:
        """Show a line above the bar, at the next update."""
        self._lines.append(text)

    def close(self) -> None:
        """Leave the lines, and what was used."""
        self._closed.set()
        self._draw(bar=False)

    def _keep_drawing(self) -> None:
        while not self._closed.wait(SECONDS):
            self._draw()

    def _draw(self, *, bar: bool = True) -> None:
        with suppress(Exception):
            self._output.update(self._html(page(list(self._lines), self._look(), bar=bar)))


def page(lines: list[str], picture: Picture, *, bar: bool = True) -> str:
    """Return the output as HTML; whatever a model wrote is text in it."""
    rows = [*lines]
    if bar:
        rows.append(picture.title)
    shown = "<br>".join(escape(visible(row)) for row in rows)
    share = f' value="{min(picture.calls, picture.planned)}" max="{picture.planned}"' if picture.planned else ""
    drawn = f'<div><progress style="width:60%"{share}></progress></div>' if bar else ""
    used = f"{picture.count}, {picture.amounts}, {picture.times}" if bar else ""
    return f'<div style="font-family:monospace"><div>{shown}</div>{drawn}<div>{escape(used)}</div></div>'

"""The parts that every page is made of, as plain data: what `reports/page/sections.js` can draw.

A cell of a table is text or a number; no part holds markup. The texts of models go through `shown`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ..programs.boundary import visible

Section = dict[str, Any]
"""One part of a page: its `type`, its `title`, and what the functions below put in."""
Light = Literal["good", "warn", "bad", "unknown"]
"""How a light stands; the page shows it by shape and word, not by colour alone."""


def shown(text: object) -> str:
    r"""Return anything as text for a page: without characters that hide or turn words.

    Example:
        >>> shown("five\u200b stars"), shown(None), shown(3)
        ('five stars', '', '3')
    """
    return "" if text is None else visible(str(text))


def number(value: object) -> float | None:
    """Return a number that JSON can hold, None for anything else.

    Example:
        >>> number(2), number(float("nan")), number("2"), number(True)
        (2, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def signed(value: float) -> str:
    """Return a difference of rewards with its sign.

    Example:
        >>> signed(0.1), signed(-0.00001)
        ('+0.100', '+0.000')
    """
    return f"{round(value, 3) + 0.0:+.3f}"


def text_section(title: str, text: object, *, note: str = "") -> Section:
    """Return a text that keeps its lines."""
    return {"type": "text", "title": title, "text": shown(text), "note": note}


def lines(title: str, texts: Iterable[str]) -> Section:
    """Return sentences, one below the other."""
    return {"type": "lines", "title": title, "lines": [shown(text) for text in texts], "note": ""}


def facts(items: Iterable[tuple[str, str, str]]) -> Section:
    """Return figures to be read at a glance: label, value, and a word of explanation each."""
    return {
        "type": "facts",
        "title": "",
        "items": [{"label": label, "value": shown(value), "hint": shown(hint)} for label, value, hint in items],
    }


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, note: str = "") -> Section:
    """Return a table; a column in which all cells are numbers or empty is aligned to the right."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    return {"type": "table", "title": title, "columns": list(columns), "rows": cells, "note": note}


def intervals(
    title: str, rows: Iterable[tuple[str, Mapping[str, Any] | None]], *, zero: bool = True, note: str = ""
) -> Section:
    """Return means with their intervals as bars on one axis.

    Args:
        title: The section's heading.
        rows: Label, and `mean`, `low`, `high` and `count`; None: missing.
        zero: Whether 0 is marked, which a difference is compared with.
        note: What stands under it.
    """
    found = [
        {"label": shown(label), **{key: number((one or {}).get(key)) for key in ("mean", "low", "high", "count")}}
        for label, one in rows
    ]
    return {"type": "intervals", "title": title, "rows": found, "zero": zero, "note": note}


def lights(title: str, rows: Iterable[tuple[Light, str, str]], *, note: str = "") -> Section:
    """Return a list of findings, each with a light: state, label, and a sentence."""
    found = [{"state": state, "label": shown(label), "text": shown(text)} for state, label, text in rows]
    return {"type": "lights", "title": title, "rows": found, "note": note}


def matrix(
    title: str,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    low: float,
    high: float,
    note: str = "",
) -> Section:
    """Return a heat map; `low` and `high` are the ends of its scale."""
    cells = [[number(value) for value in row] for row in values]
    return {
        "type": "matrix", "title": title, "values": cells,
        "rows": [shown(one) for one in rows], "columns": [shown(one) for one in columns],
         "low": low, "high": high, "note": note,
    }  # fmt: skip


def _cell(value: object) -> str | float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    return None if value is None else shown(value)

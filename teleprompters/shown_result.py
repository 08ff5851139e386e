"""The result of a run as notebooks show it; to everything else it is the plain mapping that it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from ..programs.boundary import visible
from .picture import short
from .verdict import notes, true_gain, verdict

SIMULATED = "SIMULATED: no number here says anything about a real model."
"""What stands over the result of simulated models."""


class ShownResult(dict[str, Any]):
    """What `result.json` says, with the bill: a dict that a notebook shows in words and tables.

    It is equal to the dict that it holds, and is saved, copied and pickled as one.

    Example:
        >>> result = ShownResult(decision="improved", gain=0.1)
        >>> result == {"decision": "improved", "gain": 0.1}
        True
    """

    def _repr_html_(self) -> str | None:
        """Return the result as HTML, in which everything a model wrote is text; None if it is no whole result."""
        try:
            return "".join(_page(self))
        except (KeyError, TypeError, ValueError):  # somebody changed it: then as any dict
            return None


def _page(result: dict[str, Any]) -> Iterator[str]:
    yield '<div style="max-width:60em">'
    if result["simulated"]:
        yield f"<p><b>{_text(SIMULATED)}</b> {_text(true_gain(result))}</p>"
    yield f"<p><b>{_text(verdict(result))}</b></p>"
    said = "".join(f"<li>{_text(line)}</li>" for line in notes(result))
    yield f"<ul>{said}</ul>" if said else ""
    for name, instruction in result["instructions"].items():
        text = f'<pre style="white-space:pre-wrap">{_text(instruction)}</pre>'
        yield f"<details open><summary>instruction of {_text(name)}</summary>{text}</details>"
    headings = ("role", "model", "calls", "tokens", "dollars")
    rows = [_row(result, role) for role in result["lm_calls"]]
    yield f"<details><summary>what it took</summary>{_table(headings, rows)}</details></div>"


def _row(result: dict[str, Any], role: str) -> tuple[str, ...]:
    cost = result["cost"][role]
    calls, tokens = result["lm_calls"][role], result["tokens"][role]
    return (
        role,
        result["models"].get(role, "-"),
        f"{calls:,}",
        short(tokens),
        "unknown" if cost is None else f"{cost:.4f}",
    )


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{_text(one)}</th>" for one in headings)
    body = "".join("<tr>" + "".join(f"<td>{_text(one)}</td>" for one in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    return escape(visible(str(text)))

"""How a prompt is put together from the demonstrations of a pool, for retrieval outside DSPy.

A request that shows some demonstrations is `before`, the piece of each demonstration in the order they are shown, and
`after`: messages in a row, or the text of a base model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeVar

from .bundle import Bundle

S = TypeVar("S", bound=Sequence[Any])


@dataclass(frozen=True)
class Assembly:
    """The parts of a prompt; each is a list of messages, or each is a text."""

    before: Any
    """What stands before the demonstrations."""
    pieces: list[Any]
    """What each demonstration of the pool adds, in the order of the pool."""
    after: Any
    """What stands after the demonstrations, with the inputs."""


def assembly(bundle: Bundle) -> Assembly | None:
    """Return the parts of a bundle's prompt; None without a pool, or if they do not add up."""
    if bundle.retrieval is None:
        return None
    pool = bundle.retrieval.pool
    empty = _content(bundle, [])
    parts = _around(empty, [_content(bundle, [demo]) for demo in pool])
    if parts is None:
        return None
    whole = parts.before
    for piece in parts.pieces:
        whole = whole + piece
    # An adapter may put some demonstrations first, whatever the order: then a sum of pieces is not what is sent.
    return parts if whole + parts.after == _content(bundle, pool) else None


def _content(bundle: Bundle, demos: Sequence[Any]) -> Any:
    request = bundle.request_with(demos)
    return request["prompt" if "prompt" in request else "messages"]


def _around(empty: S, each: Sequence[S]) -> Assembly | None:
    """Return what is the same in front and behind, and what each adds between; None if one adds nothing there."""
    tail = min((_common_end(empty, one) for one in each), default=0)
    cut = len(empty) - tail
    if not all(len(one) > len(empty) and one[:cut] == empty[:cut] for one in each):
        return None
    return Assembly(empty[:cut], [one[cut : len(one) - tail] for one in each], empty[cut:])


def _common_end(first: Sequence[Any], second: Sequence[Any]) -> int:
    pairs = zip(reversed(first), reversed(second), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

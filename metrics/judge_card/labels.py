"""Labels: what people say of some answers, from a file of one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError


@dataclass(frozen=True)
class Label:
    """One answer that a person has judged.

    Example:
        >>> Label("What is tea?", "A drink.", score=4)
        Label(query='What is tea?', answer='A drink.', score=4, good=None)
    """

    query: str
    """What was asked."""
    answer: str
    """What was answered."""
    score: float | None = None
    """What the person gave, 1 (worst) to 5; None: good or bad."""
    good: bool | None = None
    """Whether the person called it good; None: a score."""


_GOOD = {"good": True, "bad": False}


def load_labels(path: Path | str) -> tuple[Label, ...]:
    """Return the labels of a file: `{"query": ..., "answer": ..., "label": 4}` a line, or `"label": "good"` or `"bad"`.

    Args:
        path: The file.

    Raises:
        DataError: If it cannot be read, is empty, mixes scores with good and bad, or a line says something else.
    """
    name = str(path)
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"labels={name!r}: cannot be read ({error.strerror or error}); check the path") from None
    except UnicodeDecodeError as error:
        raise DataError(f"labels={name!r}: is not UTF-8 ({error}); save it as such") from None
    labels = tuple(_labels(lines, name))
    if not labels:
        raise DataError(f"labels={name!r}: is empty; give it at least one line")
    if len({label.good is None for label in labels}) > 1:
        raise DataError(f"labels={name!r}: has scores and good or bad; use one of them throughout")
    return labels


def _labels(lines: list[str], name: str) -> Iterator[Label]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"labels={name!r}, line {number}"
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: is not JSON ({error}); write one object a line") from None
        if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("query", "answer")):
            raise DataError(f"{where}: needs 'query' and 'answer' as texts")
        yield _label(item, where)


def _label(item: dict[str, Any], where: str) -> Label:
    given = item.get("label")
    if isinstance(given, str) and given.strip().casefold() in _GOOD:
        return Label(item["query"], item["answer"], good=_GOOD[given.strip().casefold()])
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 1 <= given <= 5:
        raise DataError(f"{where}: label={given!r}: give a number from 1 to 5, 'good' or 'bad'")
    return Label(item["query"], item["answer"], score=float(given))

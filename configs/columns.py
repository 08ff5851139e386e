"""Which column of a table holds the prompts: the one that is named, or the only one that can be meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import DataError
from .problems import shown, suggestion
from .rows import Rows

_NAMES = ("query", "question", "prompt", "instruction", "input")
_LESSER_NAMES = ("text", "messages")  # found beside a prompt column as well, so they count only without one


def choose_column(table: Rows, *, column: str | None, field: str) -> str | None:
    """Return the column that holds the prompts, None if the rows are texts.

    Without a name that is a column called as the program's input field; else the only one called query, question,
    prompt, instruction or input (blank columns do not count); else text; else messages; else the only column of text.

    Args:
        table: The rows.
        column: The name that the user gave. None: guess.
        field: The program's input field.

    Raises:
        DataError: If there is no such column, or more than one that may be meant.
    """
    columns = column_names(table)
    if not columns:
        if column is not None:
            raise DataError(f"{table.source!r}: column {column!r} cannot be used: its rows are texts without columns")
        return None
    if column is not None:
        return find_column(column, columns, table.source)
    named = {name.casefold().strip(): name for name in reversed(columns)}
    if field.casefold() in named:
        return named[field.casefold()]
    known = [named[name] for name in _NAMES if name in named]
    found = (
        [name for name in known if not _is_blank(table, name)]
        or [named[name] for name in _LESSER_NAMES if name in named][:1]
        or known[:1]
        or [name for name in columns if _has_text(table, name)]
    )
    if len(found) == 1 and _is_a_name(found[0]):
        return found[0]
    if len(found) == 1:
        problem = f"its first line {shown(found[0])} looks like a prompt; put the column's name above it"
        raise DataError(f"{table.source!r}: {problem}, or name the column as it is (data.column)")
    problem = f"several columns may hold the prompts: {_listed(found)}" if found else "no column holds text"
    raise DataError(f"{table.source!r}: {problem}; name one (data.column) of {_listed(columns)}")


def column_names(table: Rows) -> tuple[str, ...]:
    """Return the columns of all rows, in order of appearance; none if the first row has no columns."""
    if not isinstance(table.rows[0].value, Mapping):
        return ()
    names: dict[str, None] = {}
    for row in table.rows:
        if isinstance(row.value, Mapping):
            names.update(dict.fromkeys(map(str, row.value)))
    return tuple(names)


def find_column(name: str, columns: Sequence[str], source: str) -> str:
    """Return the column of this name; other capitals will do if only one column is spelled so.

    Raises:
        DataError: If there is none; the message lists the columns.
    """
    if name in columns:
        return name
    alike = [column for column in columns if column.casefold().strip() == name.casefold().strip()]
    if len(alike) == 1:
        return alike[0]
    near = suggestion(name, columns)
    meant = f"did you mean {near!r}? " if near else ""
    raise DataError(f"{source!r}: no column {shown(name)}; {meant}it has {_listed(columns)}")


def _values(table: Rows, column: str) -> Iterator[Any]:
    return (row.value.get(column) for row in table.rows if isinstance(row.value, Mapping))


def _is_blank(table: Rows, column: str) -> bool:
    return all(value is None or (isinstance(value, str) and not value.strip()) for value in _values(table, column))


def _has_text(table: Rows, column: str) -> bool:
    """Return whether a column holds text or messages anywhere, other than numbers written as text."""
    return any(
        is_messages(value) or (isinstance(value, str) and value.strip() != "" and not _is_number(value))
        for value in _values(table, column)
    )


def is_messages(value: Any) -> bool:
    """Return whether a value is a conversation as chat APIs take it: a list of mappings with a role."""
    return (
        isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) and "role" in turn for turn in value)
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_a_name(column: str) -> bool:
    """Return whether this is what people call columns, rather than the first prompt of a file without a header."""
    return len(column) <= 40 and re.fullmatch(r"[\w/-]+( [\w/-]+){0,2}", column.strip()) is not None


def _listed(columns: Iterable[str]) -> str:
    names = list(columns)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(shown(name, 40) for name in names[:8]) + more

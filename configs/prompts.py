"""Prompts and demonstrations from files: what the search learns from, taken as it is, or refused with the line.

A prompt reaches the program unchanged, whatever it holds: NUL bytes, right-to-left text, markup, placeholders, any
length. Two things are dropped and counted. Blank prompts, of white space only. And duplicates: prompts equal to an
earlier one but for white space at the ends. Capitals make a difference: `US` is not `us`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from ..errors import ConfigError, DataError
from .columns import choose_column, column_names, find_column, is_messages
from .problems import shown
from .rows import Row, Rows, read_rows

_ABSENT = object()


@dataclass(frozen=True)
class Prompts:
    """The prompts of one source, ready for `compile`.

    Example:
        >>> prompts = load_prompts(["Hi", "Hi ", "", "What is rain?"])
        >>> len(prompts), prompts.num_duplicates, prompts.num_blank, prompts.examples[1].query
        (2, 1, 1, 'What is rain?')
    """

    examples: tuple[dspy.Example, ...]
    """One example per prompt, in the order of the source, with the program's input fields and nothing else."""
    num_blank: int
    """Prompts dropped because they held white space only."""
    num_duplicates: int
    """Prompts dropped because an earlier one says the same."""
    column: str | None
    """The column that held the prompts. None: the rows were texts, or each field had its own."""
    source: str
    """Where they came from, as messages call it."""

    def __len__(self) -> int:
        """Return the number of prompts."""
        return len(self.examples)

    def __str__(self) -> str:
        """Return one line for people: how many prompts, from where, and what was dropped."""
        column = f", column {self.column!r}" if self.column else ""
        dropped = f"{self.num_blank} blank and {self.num_duplicates} duplicate ones dropped"
        return f"{len(self)} prompts from {self.source!r}{column} ({dropped})"

    def split(self, num_val: int) -> tuple[list[dspy.Example], list[dspy.Example]]:
        """Return the prompts for the search and, from the end, `num_val` held-out ones.

        Raises:
            DataError: If nothing would be left for the search.
        """
        if not 0 <= num_val < len(self):
            raise DataError(
                f"data.num_val={num_val}: {self.source!r} has {len(self)} prompts; leave one for the search"
            )
        border = len(self) - num_val
        return list(self.examples[:border]), list(self.examples[border:])


def load_prompts(
    source: Path | str | Sequence[Any] | Mapping[str, Any],
    *,
    column: str | None = None,
    limit: int | None = None,
    field: str = "query",
    fields: Sequence[str] | None = None,
    unique: bool = True,
) -> Prompts:
    """Return the prompts of a file, a Hugging Face data set, our own set, or a list.

    Args:
        source: A path (.jsonl, .json, .csv, .tsv, .parquet, .txt), `hf:<owner>/<name>[/<config>][:<split>]`,
            `builtin:prompts`, or a list of texts, mappings or `dspy.Example`s.
        column: The column that holds the prompts. Of chat messages, the last user's text is taken. None: guessed, see
            `choose_column`.
        limit: Stop after this many prompts, 1 or more. None: take all.
        field: The program's input field.
        fields: The input fields of a program with several: each is the column of its name, and its values may be
            anything that JSON holds. One field is the same as `field`. A text column `kind` is kept beside them.
        unique: Whether duplicates are dropped. False: each row that is not blank stays, as answers to a file need it.

    Raises:
        DataError: If the source, the column or a prompt cannot be used; the message says what to change and where.
        ConfigError: If `limit` is not positive, or `column` is given for several fields.
        MissingDependencyError: If reading the source takes a package that is not installed.
    """
    if limit is not None and (isinstance(limit, bool) or limit < 1):
        raise ConfigError(f"limit={limit!r}: give a number of prompts, 1 or more, or None")
    fields = tuple(fields) if fields else (field,)
    if column is not None and len(fields) > 1:
        raise ConfigError(f"column={column!r}: several inputs are read from the columns of their names, {fields!r}")
    table = read_rows(source)
    if len(fields) > 1:
        columns = _columns(table, fields)
    else:
        columns = {fields[0]: choose_column(table, column=column, field=fields[0])}
    examples: list[dspy.Example] = []
    num_blank = num_duplicates = 0
    seen: set[tuple[str, ...]] = set()
    for row in table.rows:
        values = _values(table, row, columns)
        key = tuple(_comparable(value) for value in values.values())
        if not any(key):
            num_blank += 1
        elif unique and key in seen:
            num_duplicates += 1
        else:
            seen.add(key)
            examples.append(dspy.Example(**{**_kind(row), **values}).with_inputs(*fields))
        if len(examples) == limit:
            break
    if not examples:
        raise DataError(f"{table.source!r} holds no prompt: all {num_blank} rows are blank")
    one = columns[fields[0]] if len(fields) == 1 else None
    return Prompts(tuple(examples), num_blank, num_duplicates, one, table.source)


def load_demos(
    source: Path | str | Sequence[Any] | Mapping[str, Any],
    *,
    inputs: Sequence[str] = ("query",),
    output: str = "response",
) -> tuple[dict[str, Any], ...]:
    """Return demonstrations: mappings with the program's input fields and its output field, in the source's order.

    Args:
        source: What `load_prompts` takes, with a column per field; `builtin:demos`; or, for one input field, a mapping
            or JSON object of queries to answers.
        inputs: The program's input fields.
        output: The program's output field.

    Raises:
        DataError: If the source, a column or a demonstration cannot be used: no value may be blank.
        MissingDependencyError: If reading the source takes a package that is not installed.

    Example:
        >>> load_demos({"Hi": "Hello! What can I do for you?"})
        ({'query': 'Hi', 'response': 'Hello! What can I do for you?'},)
    """
    table = _spelled_out(read_rows(source), tuple(inputs), output)
    columns = _columns(table, (*inputs, output))
    demos: dict[tuple[str, ...], dict[str, Any]] = {}  # keyed by content: a demonstration shown twice teaches nothing
    for row in table.rows:
        values = _values(table, row, columns)
        for name, value in values.items():
            if not _comparable(value):
                problem = f"{name!r} is blank; fill it in or remove the demonstration"
                raise DataError(f"{table.source!r}: {row.where}: {problem}")
        for name in (*inputs, output) if len(inputs) == 1 else (output,):
            _check_text(values[name], f"{table.source!r}: {row.where}")
        demos.setdefault(tuple(map(_comparable, values.values())), values)
    return tuple(demos.values())


def _spelled_out(table: Rows, inputs: tuple[str, ...], output: str) -> Rows:
    """Turn one object of queries to answers into rows with columns."""
    content = table.rows[0].value
    if (
        len(table.rows) > 1
        or len(inputs) > 1
        or not isinstance(content, Mapping)
        or {*inputs, output} <= content.keys()
    ):
        return table
    pairs = enumerate(content.items(), start=1)
    rows = tuple(Row(f"item {number}", {inputs[0]: query, output: answer}) for number, (query, answer) in pairs)
    return Rows(table.source, rows)


def _columns(table: Rows, fields: Sequence[str]) -> dict[str, str | None]:
    """Return the column of each field, by its name."""
    names = column_names(table)
    if not names:
        raise DataError(f"{table.source!r}: its rows are texts; it needs the columns {', '.join(map(repr, fields))}")
    return {field: find_column(field, names, table.source) for field in fields}


def _values(table: Rows, row: Row, columns: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the value of each field; text if there is only one."""
    where = f"{table.source!r}: {row.where}"
    values: dict[str, Any] = {}
    for field, column in columns.items():
        value = row.value
        if column is not None:
            if not isinstance(value, Mapping):
                raise DataError(f"{where}: {shown(value)} has no columns where other rows have; write it as they are")
            value = value.get(column, _ABSENT)
            if value is _ABSENT:
                raise DataError(f"{where}: no {column!r}; give it one, or remove the row")
            if is_messages(value) and len(columns) == 1:
                value = _last_user_text(value, where)
        if len(columns) == 1:
            _check_text(value, where)
        values[field] = _sendable(value, where)
    return values


def _kind(row: Row) -> dict[str, str]:
    """Return the row's `kind` if it has one: the search takes care that its samples are not all of one kind."""
    kind = row.value.get("kind") if isinstance(row.value, Mapping) else None
    return {"kind": kind} if isinstance(kind, str) and kind.strip() else {}


def _check_text(value: Any, where: str) -> None:
    if not isinstance(value, str):
        kind = {bool: "true or false", type(None): "null", list: "a list", dict: "an object"}.get(
            type(value), "a number"
        )
        raise DataError(f"{where}: {shown(value)} is {kind}, not text; put it in double quotes, or remove the row")


def _sendable(value: Any, where: str) -> Any:
    """Return the value if a provider can be sent it: JSON, in UTF-8, and not null."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise DataError(
            f"{where}: holds {half!r}, half of a surrogate pair, which no model can be sent; remove it"
        ) from None
    except (TypeError, ValueError, RecursionError):
        raise DataError(f"{where}: {shown(value)} is not JSON; write it as text, or remove the row") from None
    if value is None:
        raise DataError(f"{where}: null is no value; give it one, or remove the row")
    return value


def _last_user_text(messages: Sequence[Mapping[str, Any]], where: str) -> Any:
    """Return what the user said last in a conversation."""
    contents = [message.get("content") for message in messages if message.get("role") == "user"]
    if not contents:
        raise DataError(f"{where}: no message has the role 'user'; add one, or remove the row")
    content = contents[-1]
    if not isinstance(content, list):
        return content
    texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
    if len(texts) != len(content) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: the user's message holds more than text; only text can be sent, so remove the row")
    return "\n".join(map(str, texts))


def _comparable(value: Any) -> str:
    """Return what two values that say the same have in common; empty for a blank text."""
    return value.strip() if isinstance(value, str) else json.dumps(value, sort_keys=True)

"""Rows of a table, from wherever a user keeps them: JSONL, JSON, CSV, Parquet, plain lines, a Hugging Face data set.

A row is a text, or a mapping of columns to values; nothing is changed, chosen or dropped here. Only the line ends of
a plain text file are not part of its rows.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingDependencyError
from .problems import shown
from .shorthand import BUILTIN, HUGGING_FACE

BUILTINS = ("prompts", "demos")
"""The files of our own, by the name after `builtin:`."""

_DELIMITERS = (",", ";", "\t", "|")
_ONE_COLUMN = "\x1f"  # a delimiter that no file of one column holds
_LONGEST_FIELD = 2**31 - 1  # the most that every platform takes


@dataclass(frozen=True)
class Row:
    """One record and where it stands."""

    where: str
    """For messages: `line 3`, `item 3` or `row 3`, counted from 1."""
    value: Any
    """A text or a mapping for sound files; whatever JSON holds for others."""


@dataclass(frozen=True)
class Rows:
    """All records of one source."""

    source: str
    """What messages call the source."""
    rows: tuple[Row, ...]
    """In the source's order; at least one."""


def read_rows(source: Path | str | Sequence[Any] | Mapping[str, Any]) -> Rows:
    """Return the rows of a source.

    Args:
        source: A path ending in .jsonl, .ndjson, .json, .csv, .tsv, .parquet or .txt; `hf:<owner>/<name>`, with
            `/<config>` and `:<split>` if need be (split `train` by default); `builtin:prompts` or `builtin:demos`; a
            sequence of rows; or one mapping, which is read as a JSON file that holds it.

    Raises:
        DataError: If the source is missing, empty or unreadable.
        MissingDependencyError: If reading it takes a package that is not installed.
    """
    if isinstance(source, Mapping):
        rows = [Row(f"item {number}", value) for number, value in enumerate(_items(dict(source), "memory"), start=1)]
        source = "memory"
    elif isinstance(source, (str, Path)):
        rows = list(_read(source))
    elif isinstance(source, Sequence) and not isinstance(source, (bytes, bytearray)):
        rows = [Row(f"item {number}", _plain(value)) for number, value in enumerate(source, start=1)]
        source = "memory"
    else:
        raise DataError(
            f"{shown(source)} is no source of rows; give a path, a source such as 'builtin:prompts', or a list"
        )
    if not rows:
        raise DataError(f"{str(source)!r} is empty; give it at least one row")
    return Rows(str(source), tuple(rows))


def _plain(value: Any) -> Any:
    """Return a row of a list as the mapping or text it is; a `dspy.Example` gives its fields."""
    return value.toDict() if hasattr(value, "toDict") else value


def _read(source: str | Path) -> Iterator[Row]:
    name = str(source)
    if name.startswith(HUGGING_FACE):
        return _hugging_face(name)
    if name.startswith(BUILTIN):
        kind = name.removeprefix(BUILTIN)
        if kind not in BUILTINS:
            known = " or ".join(repr(BUILTIN + other) for other in BUILTINS)
            raise DataError(f"{name!r} is not one of ours; write {known}")
        file = resources.files(__package__).joinpath("data", f"{kind}.jsonl")
        return _jsonl(file.read_text(encoding="utf-8"), name)
    path = Path(source)
    data = _bytes(path)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(data, name)
    if suffix not in _READERS:
        known = ", ".join([*_READERS, ".parquet"])
        raise DataError(
            f"{name!r}: its ending {suffix!r} does not say what it holds; rename it to end in one of {known}"
        )
    return _READERS[suffix](_text(data, name), name)


def _bytes(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except FileNotFoundError:
        raise DataError(f"{str(path)!r}: no such file (the current folder is {str(Path.cwd())!r})") from None
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte in the name; `~nobody`
        raise DataError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _text(data: bytes, name: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{name!r} is UTF-16 text; save it as UTF-8")
    if data.count(0) * 4 > len(data) > 0:  # single NULs may be meant; a quarter of the file is another encoding
        raise DataError(f"{name!r} is a binary file or UTF-16 text; save it as UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {data[error.start]:#04x} at position {error.start}"
        raise DataError(f"{name!r} is not UTF-8 text ({found}); save it as UTF-8") from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield numbered lines. Only a line feed ends one: `str.splitlines` would also cut at U+2028 inside a text."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return ((number, line.removesuffix("\r")) for number, line in enumerate(lines, start=1))


def _txt(text: str, name: str) -> Iterator[Row]:
    return (Row(f"line {number}", line) for number, line in _lines(text))


def _parsed(text: str, where: str, hint: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{where}: nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, or a number of thousands of digits
        raise DataError(f"{where}: not JSON: {error}; {hint}") from None


def _jsonl(text: str, name: str) -> Iterator[Row]:
    hint = "each line is one text in double quotes or one object; a list over several lines belongs in a .json file"
    for number, line in _lines(text):
        if line.strip():
            yield Row(f"line {number}", _parsed(line, f"{name!r}: line {number}", hint))


def _json(text: str, name: str) -> Iterator[Row]:
    if not text.strip():
        return
    content = _parsed(text, repr(name), "one object per line belongs in a .jsonl file")
    for number, value in enumerate(_items(content, name), start=1):
        yield Row(f"item {number}", value)


def _items(content: Any, name: str) -> list[Any]:
    """Return the records of a JSON document: a list, `{"data": [...]}`, or one object."""
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        content = content["data"]
    if isinstance(content, dict):
        return [content] if content else []
    if isinstance(content, list):
        return content
    raise DataError(f"{name!r} holds {shown(content)}; it must be a list of texts or objects, or {{'data': [...]}}")


def _csv(text: str, name: str) -> Iterator[Row]:
    """Read a table whose first record names its columns.

    `csv.Sniffer` guesses from the prose of the first cells, and differently from file to file. The header is better
    evidence: the delimiter is the one that splits it, and under which all records are as wide as it is.
    """
    if not text.strip():
        return
    header = next(line for _, line in _lines(text) if line.strip())
    quote = "'" if header.startswith("'") else '"'
    escapes: list[dict[str, Any]] = [{"doublequote": True}]
    if f"\\{quote}" in text:
        escapes.append({"doublequote": False, "escapechar": "\\"})
    failure: DataError | None = None
    for delimiter in (mark for mark in _DELIMITERS if mark in header):
        padded = f"{delimiter} " in header
        for escape in escapes:
            dialect = {"delimiter": delimiter, "quotechar": quote, "skipinitialspace": padded, **escape}
            try:
                records = list(_records(text, name, **dialect))
            except DataError as error:
                failure = failure or error
                continue
            if len(records[0][1]) > 1:
                yield from _table(records, name)
                return
    if failure is not None:
        raise failure
    yield from _table(list(_records(text, name, delimiter=_ONE_COLUMN, quotechar=quote)), name)


def _records(text: str, name: str, **dialect: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line it starts on; all are as wide as the first. Empty lines are none."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))  # the default stops at 131,072 characters
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, **dialect)
    width, start = 0, 1
    try:
        for record in reader:
            width = width or len(record)
            if record and len(record) != width:
                raise DataError(
                    f"{name!r}: line {start}: {len(record)} fields where the header has {width}; put a text that holds "
                    "the delimiter between double quotes"
                )
            if record:
                yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name!r}: line {start}: {error}; write a quote inside a text twice") from None


def _table(records: list[tuple[int, list[str]]], name: str) -> Iterator[Row]:
    columns = [column.strip() for column in records[0][1]]
    for index, column in enumerate(columns):
        if column and column in columns[:index]:
            raise DataError(f"{name!r}: two columns are called {column!r}; rename one")
    for line, record in records[1:]:
        yield Row(f"line {line}", {column: text for column, text in zip(columns, record, strict=True) if column})


def _parquet(data: bytes, name: str) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError(f"{name!r}: reading Parquet takes pyarrow; pip install pyarrow") from None
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        # Times of nanoseconds cannot become Python values, and no prompt is a time.
        timeless = [index for index, kind in enumerate(table.schema.types) if not pyarrow.types.is_temporal(kind)]
        records = table.select(timeless).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{name!r} is no readable Parquet file: {reason}") from None
    return (Row(f"row {number}", record) for number, record in enumerate(records, start=1))


def _hugging_face(name: str) -> Iterator[Row]:
    place, _, split = name.removeprefix(HUGGING_FACE).partition(":")
    parts = place.split("/")
    if not all(parts) or len(parts) > 3:
        raise DataError(f"{name!r}: write hf:<owner>/<name>, with /<config> and :<split> if need be")
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(f'{name!r}: reading it takes datasets; pip install "drpo-dspy[hf]"') from None
    try:
        loaded = datasets.load_dataset("/".join(parts[:2]), *parts[2:], split=split or "train")
        records = loaded.to_list()
    except Exception as error:  # the network, the hub, the config, the split: datasets has no base class for them
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{name!r} cannot be loaded: {type(error).__name__}: {reason}") from None
    return (Row(f"row {number}", record) for number, record in enumerate(records, start=1))


_READERS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _txt,
}

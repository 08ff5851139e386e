"""How values become text: what an LM is sent, what is compared, and what can be saved."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import TypeAdapter

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
"""A value that a saved program can hold."""


def render_inputs(inputs: Mapping[str, object]) -> str:
    r"""Return input fields as one text: a single field's value, or a `name: value` line for each of several.

    Args:
        inputs: Input field names and values, in the order in which they are to be shown.

    Returns:
        Strings as they are; other values (numbers, lists, pydantic objects, dates) as JSON.

    Example:
        >>> render_inputs({"query": "Why is the sky blue?"})
        'Why is the sky blue?'
        >>> render_inputs({"topic": "sky", "tags": ["colour", "air"]})
        'topic: sky\ntags: ["colour", "air"]'
    """
    texts = {name: _as_text(value) for name, value in inputs.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{name}: {text}" for name, text in texts.items())


def normalise(text: str) -> str:
    r"""Return the form in which two texts are held to be the same: case, spacing and Unicode variants do not count.

    Example:
        >>> normalise("  Why is\n the SKY blue? ")
        'why is the sky blue?'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def canonical(name: str) -> str:
    """Return what two spellings of one name have in common: letters and digits, without capitals.

    Example:
        >>> canonical("Critical-Thinking") == canonical("critical_thinking")
        True
    """
    return re.sub(r"[\W_]+", "", name.casefold())


def to_json(value: object) -> JSON:
    """Return a Python value as JSON holds it: pydantic objects as mappings, dates as text, tuples as lists.

    Raises:
        ValueError: If the value has no such form or would not be read back the same, with the reason: bytes, sets,
            numpy values, infinite numbers, integers beyond 64 bits, halves of surrogate pairs, other objects.
    """
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a mapping whose keys are not all text")
        return {str(to_json(key)): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview | set | frozenset) or type(value).__module__ == "numpy":
        raise ValueError(
            f"a {type(value).__name__}, which JSON does not hold; convert it to a Python text, number or list"
        )
    if not isinstance(value, None | bool | int | float | str):
        return to_json(_jsonable(value))
    return _exact(value)


def _exact(value: bool | int | float | str | None) -> bool | int | float | str | None:
    # The plain types themselves, so that a `str` or `int` enumeration is shown alike before and after saving.
    if isinstance(value, str):
        text = str.__str__(value)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"a text with half of a surrogate pair at position {error.start}") from None
        return text
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"the number {value!r}, which JSON does not hold")
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise ValueError("an integer beyond 64 bits; write it as text")
        return int(value)
    return value


def _jsonable(value: object) -> Any:
    try:
        return _ANYTHING.dump_python(value, mode="json")
    except ValueError as error:
        raise ValueError(f"a {type(value).__name__}, which JSON does not hold: {error}") from None


_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        plain = _jsonable(value)
        return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    except ValueError:  # what is sent must not be refused here: bytes, halves of surrogate pairs, foreign objects
        return str(value)


def counted(number: int, noun: str) -> str:
    """Return a number of things in words.

    Example:
        >>> counted(1, "seed"), counted(2, "query")
        ('1 seed', '2 queries')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"

"""Whether a JSON schema that a client sends is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote


def schema_problem(schema: dict[str, Any]) -> str | None:
    """Say in one sentence what is wrong with a JSON schema, None if nothing is.

    Args:
        schema: The schema, as plain JSON values. References may lead within it only.

    Example:
        >>> schema_problem({"type": "integer", "minimum": 1})
        >>> schema_problem({"type": "whole"})
        "'whole' is not valid under any of the given schemas (at type)."
    """
    # Clients send the same few schemas with every request, and checking one takes milliseconds.
    return _problem(json.dumps(schema))


@lru_cache(maxsize=256)
def _problem(text: str) -> str | None:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    schema = json.loads(text)
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
        dangling = next(
            (reference for reference in _references(schema) if not _leads_somewhere(reference, schema)), None
        )
    except SchemaError as error:
        where = ".".join(map(str, error.absolute_path))
        return f"{_short(error.message)}{f' (at {where})' if where else ''}."
    except RecursionError:
        return "it is nested too deeply."
    return None if dangling is None else f"its $ref {_short(repr(dangling))} leads nowhere within it."


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


def _leads_somewhere(reference: str, schema: Any) -> bool:
    if not reference.startswith("#/"):
        return reference.startswith("#")  # the whole schema, or an anchor
    for step in reference[2:].split("/"):
        step = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and step.isdecimal() and int(step) < len(schema):
            schema = schema[int(step)]
        elif isinstance(schema, dict) and step in schema:
            schema = schema[step]
        else:
            return False
    return isinstance(schema, dict | bool)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."

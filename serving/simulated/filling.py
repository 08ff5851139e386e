"""Writing a reply: whatever fields are asked for, in whatever layout, filled from a few meanings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from .reading import Field, Style

NUMBERS = re.compile(r"score|rating|grade|reward|quality|confidence|points|mark\b|stars", re.IGNORECASE)
"""Names of fields that hold a verdict."""


def schema_of(field: Field) -> Mapping[str, Any]:
    """Return a field's JSON schema, made from its type's words where the prompt gives none."""
    if field.schema:
        return field.schema
    kind = field.type.strip()
    if kind.startswith("Literal["):
        return {"enum": [_literal(part) for part in kind[8:-1].split(",")]}
    if kind.lower().startswith(("list", "tuple", "set")):
        return {"type": "array", "items": {"type": "string"}}
    if kind.lower().startswith("dict"):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    names = {"int": "integer", "float": "number", "bool": "boolean"}
    return {"type": names.get(kind, "string")}


def fill(
    schema: Mapping[str, Any],
    name: str,
    *,
    good: float,
    say: Callable[[str], str],
    root: Mapping[str, Any] | None = None,
    hint: str = "",
) -> Any:
    """Return a value that fits a JSON schema.

    Args:
        schema: The schema.
        name: The field's name.
        good: The verdict that numbers express, 0 (bad) to 1 (good).
        say: What stands in a text field of a name.
        root: The schema that holds the definitions. None: this one.
        hint: What is said of the field; a range such as "0 to 10" is read from it.
    """
    root = schema if root is None else root
    hint = f"{hint} {schema.get('description', '')}"
    if "$ref" in schema:
        return fill(resolved(schema, root), name, good=good, say=say, root=root, hint=hint)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return _of(list(schema["enum"]), good)
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            options = [option for option in schema[key] if option.get("type") != "null"]
            return fill(options[0], name, good=good, say=say, root=root, hint=hint) if options else None
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind == "object":
        return {
            key: fill(part, key, good=good, say=say, root=root) for key, part in schema.get("properties", {}).items()
        }
    if kind == "array":
        count = max(int(schema.get("minItems", 1)), 1)
        return [fill(schema.get("items", {}), name, good=good, say=say, root=root) for _ in range(count)]
    if kind in ("integer", "number"):
        low, high = _range(schema, hint)
        value = low + good * (high - low)
        return round(value) if kind == "integer" else round(value, 2)
    if kind == "boolean":
        return good >= 0.6
    return None if kind == "null" else say(name)


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema refers to, or the schema itself."""
    for _ in range(8):
        if "$ref" not in schema:
            break
        target: Any = root
        for part in str(schema["$ref"]).lstrip("#/").split("/"):
            target = target.get(part, {}) if isinstance(target, Mapping) else {}
        schema = target
    return schema


def render(style: Style, values: Mapping[str, Any]) -> str:
    """Return fields as the adapter asked for them."""
    if style is Style.JSON:
        return json.dumps(values, ensure_ascii=False)
    if style is Style.CHAT:
        parts = [f"[[ ## {name} ## ]]\n{_text(value)}" for name, value in values.items()]
        return "\n\n".join([*parts, "[[ ## completed ## ]]"])
    if style is Style.XML:
        return "\n".join(f"<{name}>\n{_text(value)}\n</{name}>" for name, value in values.items())
    return "\n\n".join(_text(value) for value in values.values())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _of(options: list[Any], good: float) -> Any:
    """Return the option that a verdict names; numbers and yes/no are ordered, other lists run from the first."""
    known = [option for option in options if option is not None] or options
    if all(isinstance(option, (int, float)) for option in known):
        known = sorted(known)
    elif {str(option).casefold() for option in known} <= {"yes", "no", "true", "false", "pass", "fail", "good", "bad"}:
        known = sorted(known, key=lambda option: str(option).casefold() in ("yes", "true", "pass", "good"))
    return known[min(len(known) - 1, int(good * len(known)))]


_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:-|\u2013|to|and|\.\.)\s*(\d+(?:\.\d+)?)")


def _range(schema: Mapping[str, Any], hint: str) -> tuple[float, float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    match = _RANGE.search(hint)
    if match and float(match.group(1)) < float(match.group(2)):
        low = float(match.group(1)) if low is None else low
        high = float(match.group(2)) if high is None else high
    default = (1.0, 5.0) if schema.get("type") == "integer" else (0.0, 1.0)
    low = default[0] if low is None else float(low)
    high = max(low + 1, default[1]) if high is None else float(high)
    return low, high


def _literal(text: str) -> Any:
    text = text.strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else text.strip("'\"")

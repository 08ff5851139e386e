"""YAML as configs use it: one mapping of plain data, read safely, with no key twice, and `--set` on top of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml

from ..errors import ConfigError
from .redaction import redacted

_UNREADABLE = (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, IndexError)
"""PyYAML lets the errors of `int()`, `date()` and its own tables through for odd scalars such as `!!bool x`."""


class _Loader(yaml.SafeLoader):
    """The safe loader, which takes the last of two equal keys in silence, made to refuse the second."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key {key.value!r} stands here a second time; keep one of them"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_mapping(text: str, label: str) -> dict[str, Any]:
    """Return the mapping that a YAML text holds, as dicts, lists, text, finite numbers, true, false and null.

    Args:
        text: The YAML text; JSON is YAML too.
        label: How messages call the text, for example its path.

    Raises:
        ConfigError: If it is empty, not YAML, not a mapping, or holds what JSON could not.
    """
    try:
        loaded = yaml.load(text, Loader=_Loader)  # a SafeLoader: no tag can call anything
        if loaded is None:
            raise ConfigError(f"{label}: nothing in it; begin with `lms:` and `task:`, or copy a preset")
        if not isinstance(loaded, dict):
            raise ConfigError(f"{label}: holds {_kind(loaded)}; a config is a mapping of `key: value` lines")
        plain: dict[str, Any] = _plain(loaded, label, "")
        return plain
    except ConfigError:
        raise
    except RecursionError:  # also how a node that contains itself shows
        raise ConfigError(f"{label}: nested too deeply; remove anchors that contain themselves") from None
    except _UNREADABLE as error:
        raise ConfigError(f"{label}: {_described(error)}") from None


def apply_override(settings: dict[str, Any], override: str) -> None:
    """Set one `key=value` in a mapping, in place; missing mappings on the way are created.

    The value is read as YAML. Text that is no quoted text, list or mapping stays exactly as typed, so
    `program.instructions=Be brief: no #tags` needs no quotes. `key=` sets null.

    Args:
        settings: The mapping to change.
        override: A dotted key, `=`, and a value: `lms.task.model=openai/gpt-4o-mini`, `reward.criteria.0=Clarity`.

    Raises:
        ConfigError: If there is no `=`, or the key leads through something that has no keys.

    Example:
        >>> settings = {"beam_size": 2}
        >>> apply_override(settings, "lms.task.temperature=0.5")
        >>> settings
        {'beam_size': 2, 'lms': {'task': {'temperature': 0.5}}}
    """
    dotted, equals, text = override.partition("=")
    parts = [part.strip() for part in dotted.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {dotted!r}: write a dotted key, `=` and a value, as in lms.task.temperature=0.5")
    label = f"--set {'.'.join(parts)}"
    here: Any = settings
    for depth, part in enumerate(parts[:-1], start=1):
        slot = _slot(here, part, label)
        if isinstance(here, dict) and here.get(slot) is None:
            here[slot] = {}
        here = here[slot]
        if not isinstance(here, (dict, list)):
            raise ConfigError(f"{label}: {'.'.join(parts[:depth])} is {redacted(here, part)!r}, which has no keys")
    here[_slot(here, parts[-1], label)] = _value(text, label)


def _slot(here: dict[str, Any] | list[Any], part: str, label: str) -> Any:
    if isinstance(here, dict):
        return part
    if part.isdecimal() and int(part) < len(here):
        return int(part)
    raise ConfigError(f"{label}: {part!r} is no place in a list of {len(here)}; count from 0")


def _value(text: str, label: str) -> Any:
    text = text.strip()
    structured = text.startswith(("{", "[", '"', "'"))
    try:
        value = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise ConfigError(f"{label}: nested too deeply") from None
    except _UNREADABLE as error:
        if structured:
            raise ConfigError(f"{label}: {_described(error)}") from None
        return text
    if not structured and isinstance(value, (str, dict, list)):
        return text
    return _plain(value, label, "")


def _plain(value: Any, label: str, key: str) -> Any:
    """Return a copy that JSON can hold; what it cannot hold is an error that names the key."""
    where = f"{label}: {key}" if key else label
    if isinstance(value, dict):
        return {
            _name(name, where): _plain(item, label, f"{key}.{name}" if key else str(name))
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_plain(item, label, f"{key}.{index}") for index, item in enumerate(value)]
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ConfigError(f"{where}: {value[:60]!r} holds half of a surrogate pair, which no model can be sent")
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: {value!r} is not allowed; it must be a finite number")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise ConfigError(f"{where}: {value!r} is read as {_kind(value)}; put it in quotes to make it text")


def _name(name: object, where: str) -> str:
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise ConfigError(f"{where}: the key {name!r} is read as {_kind(name)}; put it in quotes to make it text")
    return str(name)


def _kind(value: object) -> str:
    names: Mapping[type, str] = {bool: "true or false", list: "a list", str: "one text", type(None): "null"}
    return names.get(type(value), f"a value of type {type(value).__name__}")


def _described(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line = error.problem_mark.line
        hint = "; indent with blanks, not tabs" if "\\t" in (error.problem or "") else ""
        return f"line {line + 1}, column {error.problem_mark.column + 1}: {error.problem}{hint}"
    return f"holds a value that cannot be read ({' '.join(str(error).split())})"

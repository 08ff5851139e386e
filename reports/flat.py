"""Nested plain data as one level of dotted names, to compare two of them leaf by leaf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MISSING = "(not there)"
"""What stands for a value that one side lacks."""


def flat(data: Any, name: str = "") -> dict[str, Any]:
    """Return each leaf of nested mappings under its dotted name; lists are leaves.

    Example:
        >>> flat({"lms": {"task": {"model": "a"}}, "seed": 0})
        {'lms.task.model': 'a', 'seed': 0}
    """
    return dict(_leaves(data, name))


def differences(before: Any, after: Any) -> dict[str, tuple[Any, Any]]:
    """Return the leaves that differ, by name, with both values.

    Example:
        >>> differences({"k": 3, "seed": 0}, {"k": 0, "seed": 0, "auto": "light"})
        {'k': (3, 0), 'auto': ('(not there)', 'light')}
    """
    first, second = flat(before), flat(after)
    return {
        name: (first.get(name, MISSING), second.get(name, MISSING))
        for name in dict.fromkeys([*first, *second])
        if first.get(name, MISSING) != second.get(name, MISSING)
    }


def _leaves(data: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, data

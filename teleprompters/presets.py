"""What `auto` fills in, and the checks of everything else, before the first paid call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError


@dataclass(frozen=True)
class SearchSettings:
    """The settings of one search, none of them open."""

    beam_size: int
    """Nodes kept per level."""
    n_actions: int
    """New instructions per node."""
    depth: int
    """Records of a path at which the search ends."""
    max_depth_increase: int
    """By how many levels easy queries may lengthen it."""
    temperature: float
    """Sampling temperature of the rewriter."""


PAPER = SearchSettings(beam_size=2, n_actions=3, depth=20, max_depth_increase=10, temperature=0.2)
"""The official defaults (algorithm, section 2.6)."""

_PRESETS = {"paper": PAPER}
_LOWEST = {"beam_size": 1, "n_actions": 1, "depth": 1, "max_depth_increase": 0, "temperature": 0}


def search_settings(auto: str | None, given: dict[str, Any]) -> SearchSettings:
    """Return the preset's settings with those that were given in their place.

    Args:
        auto: The preset's name, or None if all are given.
        given: Name to value; None: not given.

    Raises:
        ConfigError: If a value is out of its range, or missing without a preset.
        NotImplementedError: If the preset is not built yet.

    Example:
        >>> search_settings("paper", {"beam_size": 1}).beam_size
        1
    """
    if auto in ("light", "medium", "heavy"):
        raise NotImplementedError(f"auto={auto!r}: this search is not built yet; use auto='paper'")
    if auto is not None and auto not in _PRESETS:
        raise ConfigError(f"auto={auto!r}: choose 'paper', or None to give every setting yourself")
    values = {} if auto is None else dict(vars(_PRESETS[auto]))
    values.update({name: value for name, value in given.items() if value is not None})
    missing = sorted(set(_LOWEST) - set(values))
    if missing:
        raise ConfigError(f"auto=None leaves {', '.join(missing)} open; give a value for each, or auto='paper'")
    for name, lowest in _LOWEST.items():
        check_number(name, values[name], lowest, whole=name != "temperature")
    return SearchSettings(**values)


def check_number(name: str, value: Any, lowest: float, *, whole: bool = True) -> None:
    """Raise a `ConfigError` unless a value is a number of at least `lowest`."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not lowest <= value < float("inf"):
        raise ConfigError(f"{name}={value!r}: give {'a whole' if whole else 'a'} number of at least {lowest}")

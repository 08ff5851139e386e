"""What `auto` fills in, and the checks of everything else, before the first paid call.

| `auto` | beam_size | n_actions | depth | minibatch_size | first queries | held out | demonstrations | expected calls |
|---|---|---|---|---|---|---|---|---|
| `light` | 1 | 8 | 2 | 8 | 10 | 60 | 4, at most 1 rewrite each | 440 |
| `medium` | 2 | 8 | 3 | 12 | 24 | 150 | 6, at most 2 | 1,150 |
| `heavy` | 3 | 10 | 4 | 20 | 40 | 300 | 8, at most 3 | 2,560 |
| `paper` | 2 | 3 | 20 | 1 | 1 | only with a `valset` | 16, at most 5, if asked for | 90 to 381 |

`depth` counts levels of rewriting, in the paper's search records of a path. Calls are those of all roles together, for
a program of one predictor and at least 200 training examples; `plan.py` computes them for others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..errors import ConfigError


@dataclass(frozen=True)
class PaperSettings:
    """The settings of one paper-mode search, none of them open."""

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


@dataclass(frozen=True)
class MinibatchSettings:
    """The settings of one default-mode search, none of them open."""

    beam_size: int
    """Members kept per level."""
    n_actions: int
    """Rewrites per member."""
    depth: int
    """Levels of rewriting."""
    minibatch_size: int
    """Queries that a level's winner is judged on."""
    temperature: float
    """Sampling temperature of the rewriter."""
    first_size: int
    """Queries that the seed is judged on first."""
    num_val: int
    """Queries held out for the final selection, if there are enough."""
    num_demos: int
    """Demonstrations that are collected."""
    demo_iters: int
    """Rewrites per demonstration at most."""
    k: int
    """Demonstrations shown per query."""
    max_rules: int = 12
    """Most rules of a merged instruction."""
    max_words: int = 220
    """Most words of an instruction; a seed that is longer may grow by half of this."""
    fill: bool = False
    """Whether a cap on calls is what the run shall use, not only what it must not exceed: what is left after `depth`
    levels goes to more held-out queries, once all of them can be paid to more levels, and where no further level fits,
    to more queries on which all finalists are judged."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """How many queries each step of a race adds."""
        return rungs(self.minibatch_size)


PAPER = PaperSettings(beam_size=2, n_actions=3, depth=20, max_depth_increase=10, temperature=0.2)
"""The official defaults (algorithm, section 2.6)."""
LIGHT = MinibatchSettings(
    beam_size=1, n_actions=8, depth=2, minibatch_size=8, temperature=0.7, first_size=10, num_val=60, num_demos=4,
    demo_iters=1, k=3,
)  # fmt: skip
MEDIUM = MinibatchSettings(
    beam_size=2, n_actions=8, depth=3, minibatch_size=12, temperature=0.7, first_size=24, num_val=150, num_demos=6,
    demo_iters=2, k=3,
)  # fmt: skip
HEAVY = MinibatchSettings(
    beam_size=3, n_actions=10, depth=4, minibatch_size=20, temperature=0.7, first_size=40, num_val=300, num_demos=8,
    demo_iters=3, k=3,
)  # fmt: skip

ALONE = 3
"""How many rewrites of a node run in a race beside the merged candidate."""

MINIBATCH = {"light": LIGHT, "medium": MEDIUM, "heavy": HEAVY}
AUTO = (*MINIBATCH, "paper")
_LOWEST = {
    "beam_size": 1, "n_actions": 1, "depth": 1, "max_depth_increase": 0, "temperature": 0, "minibatch_size": 1, "k": 0,
    "demo_iters": 0,
}  # fmt: skip


def search_settings(auto: str | None, given: dict[str, Any]) -> PaperSettings | MinibatchSettings:
    """Return the preset's settings with those that were given in their place.

    Args:
        auto: The preset's name. None: all of the paper's settings are given, or with a `minibatch_size` above 1 those
            of the default search, of which the others are then as in `light`.
        given: Name to value; None: not given.

    Raises:
        ConfigError: If a value is out of its range, missing without a preset, or of no use under it.

    Example:
        >>> search_settings("paper", {"beam_size": 1}).beam_size, search_settings("light", {}).depth
        (1, 2)
    """
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        check_number(name, value, _LOWEST[name], whole=name != "temperature")
    if auto is not None and auto not in AUTO:
        raise ConfigError(
            f"auto={auto!r}: choose one of {', '.join(map(repr, AUTO))}, or None to give every setting yourself"
        )
    size = given.get("minibatch_size", 1)
    if auto == "paper" and size != 1:
        raise ConfigError(f"minibatch_size={size!r}: the paper's search judges on one query per level; leave it None")
    if auto == "paper" or (auto is None and size == 1):
        return _paper(auto, given)
    if "max_depth_increase" in given:
        raise ConfigError(
            f"max_depth_increase={given['max_depth_increase']!r}: only the paper's search gets longer; leave it None"
        )
    if auto is None:
        _complete(given, {"beam_size", "n_actions", "depth", "temperature"})
    preset = MINIBATCH[auto or "light"]
    if size > preset.minibatch_size and "minibatch_size" in given:
        given["first_size"] = max(preset.first_size, size)
    return MinibatchSettings(**{**vars(preset), **given})


def _paper(auto: str | None, given: dict[str, Any]) -> PaperSettings:
    names = {item.name for item in fields(PaperSettings)}
    values = {name: value for name, value in given.items() if name in names}
    if auto is None:
        _complete(values, names)
    return PaperSettings(**({**vars(PAPER), **values} if auto else values))


def _complete(given: dict[str, Any], names: set[str]) -> None:
    missing = sorted(names - set(given))
    if missing:
        raise ConfigError(f"auto=None leaves {', '.join(missing)} open; give a value for each, or auto='light'")


def rungs(size: int) -> tuple[int, ...]:
    """Return how many queries each step of a race of this many adds: an eighth, a quarter, the rest.

    Example:
        >>> rungs(8), rungs(20), rungs(2)
        ((1, 2, 5), (2, 5, 13), (2,))
    """
    if size < 4:
        return (size,)
    first, second = max(1, size // 8), size // 4
    return (first, second, size - first - second)


def check_number(name: str, value: Any, lowest: float, *, whole: bool = True) -> None:
    """Raise a `ConfigError` unless a value is a number of at least `lowest`."""
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not lowest <= value < float("inf"):
        raise ConfigError(f"{name}={value!r}: give {'a whole' if whole else 'a'} number of at least {lowest}")

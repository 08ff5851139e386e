"""What a tuning may try: the settings of the search, each with the values that it may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError

if TYPE_CHECKING:
    import optuna

Values = Sequence[Any]
"""The lowest and the highest value of a number, or the choices of anything else."""


@dataclass(frozen=True)
class Range:
    """The values of a number."""

    low: float
    """The lowest."""
    high: float
    """The highest; it counts too."""
    whole: bool = True
    """Whether it is a whole number."""

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Return a trial's value."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high))
        return trial.suggest_float(name, self.low, self.high)

    def has(self, value: Any) -> bool:
        """Return whether a value may be tried."""
        return isinstance(value, (int, float)) and self.low <= value <= self.high

    def plain(self) -> list[Any]:
        """Return it as plain data."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Choices:
    """The values of anything else."""

    values: tuple[Any, ...]
    """They; texts, booleans or None."""

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """Return a trial's value."""
        return trial.suggest_categorical(name, list(self.values))

    def has(self, value: Any) -> bool:
        """Return whether a value may be tried."""
        return value in self.values

    def plain(self) -> list[Any]:
        """Return it as plain data."""
        return list(self.values)


Space = Mapping[str, Range | Choices]
"""Setting to its values."""

MINIBATCH: Space = {
    "beam_size": Range(1, 3),
    "n_actions": Range(2, 12),
    "depth": Range(1, 4),
    "minibatch_size": Range(4, 20),
    "temperature": Range(0.3, 1.2, whole=False),
    "k": Range(1, 5),
    "demo_iters": Range(0, 3),
    "select": Choices(("beam", "greedy", "pareto", "mc")),
}
"""What is tried of the default search."""
PAPER: Space = {
    "beam_size": Range(1, 3),
    "n_actions": Range(1, 5),
    "depth": Range(4, 24),
    "max_depth_increase": Range(0, 10),
    "temperature": Range(0.2, 1.2, whole=False),
}
"""What is tried of the paper's search."""
OF_DEMONSTRATIONS = ("k", "demo_iters")
"""What has no effect where no demonstrations are collected."""


def space_of(
    *, paper: bool, optimize_demos: bool, given: Mapping[str, Any], narrowed: Mapping[str, Values | None]
) -> Space:
    """Return what is tried: the whole space, without what the config says itself, narrowed as the user wants.

    Args:
        paper: Whether the paper's search is tuned.
        optimize_demos: Whether demonstrations are collected.
        given: Settings to the values that the config itself gives; they stay as they are unless they are in `narrowed`.
        narrowed: Settings to `[low, high]`, or to the choices of `select`. None: as the config has it.

    Raises:
        ConfigError: If a setting cannot be tuned, or its values make no sense; or nothing is left.

    Example:
        >>> space_of(paper=True, optimize_demos=False, given={"depth": 8}, narrowed={"temperature": None})
        {'beam_size': Range(low=1, high=3, whole=True), 'n_actions': Range(low=1, high=5, whole=True), \
'max_depth_increase': Range(low=0, high=10, whole=True)}
    """
    whole = PAPER if paper else MINIBATCH
    space: dict[str, Range | Choices] = {
        name: values
        for name, values in whole.items()
        if given.get(name) is None and (paper or optimize_demos or name not in OF_DEMONSTRATIONS)
    }
    for name, values in narrowed.items():
        if name not in whole:
            search = "the paper's search" if paper else "the default search"
            raise ConfigError(f"tune.space.{name}: cannot be tuned in {search}; choose of {', '.join(whole)}")
        if values is None:
            space.pop(name, None)
        else:
            space[name] = _narrowed(name, whole[name], values)
    if not space:
        raise ConfigError("tune.space: nothing is left to tune; leave out a setting of the config, or give it a range")
    return space


def _narrowed(name: str, usual: Range | Choices, values: Values) -> Range | Choices:
    if isinstance(usual, Choices):
        if not values or any(value not in usual.values for value in values) or len(set(values)) < len(values):
            raise ConfigError(f"tune.space.{name}={list(values)!r}: give some of {', '.join(usual.values)}, each once")
        return Choices(tuple(values))
    kinds = (int,) if usual.whole else (int, float)
    if (
        len(values) != 2
        or any(isinstance(value, bool) or not isinstance(value, kinds) for value in values)
        or not 0 <= values[0] <= values[1]
    ):
        kind = "whole numbers" if usual.whole else "numbers"
        raise ConfigError(f"tune.space.{name}={list(values)!r}: give [lowest, highest], two {kind} of at least 0")
    return Range(values[0], values[1], whole=usual.whole)

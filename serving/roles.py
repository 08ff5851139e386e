"""The four roles of a run, and the LMs that fill them."""

from __future__ import annotations

from enum import StrEnum

import dspy

from ..errors import ConfigError
from .engine import build_lm


class Role(StrEnum):
    """What an LM is used for."""

    TASK = "task"
    """Answers the queries."""
    JUDGE = "judge"
    """Scores the answers."""
    CRITERIA = "criteria"
    """Picks the criteria of a query."""
    PROMPT = "prompt"
    """Rewrites instructions."""


def as_lm(value: dspy.BaseLM | str | None, *, name: str) -> dspy.BaseLM | None:
    """Return the LM that a user gave as an object or as a LiteLLM model string.

    Args:
        value: An LM, a model string, or None.
        name: The argument's name, for the error.

    Raises:
        ConfigError: If the value is neither.
    """
    if value is None or isinstance(value, dspy.BaseLM):
        return value
    if isinstance(value, str) and value.strip():
        from .settings import LMSettings  # slow to import

        return build_lm(LMSettings(model=value))
    raise ConfigError(f"{name}={value!r}: give a dspy.LM or a LiteLLM model string such as 'openai/gpt-4o-mini'")

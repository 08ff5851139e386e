"""How long a simulated model would take: a figure of the reply alone, so that results are alike in every run."""

from __future__ import annotations

from dspy.lm15 import Response

READ, WRITTEN = 5_000, 50
"""Tokens per second, about those of a model of some ten billion weights on one GPU that others use as well."""


def seconds_of(response: Response) -> float:
    """Return the seconds that a reply would have taken."""
    used = response.usage
    return (used.input_tokens or 0) / READ + (used.output_tokens or 0) / WRITTEN

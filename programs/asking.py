"""How the judge-side modules ask an LM: their own adapter, fresh samples, and the text of a reply that did not parse."""

from __future__ import annotations

from typing import Any

import dspy
import json_repair
import regex
from dspy.utils.exceptions import AdapterParseError

FRESH_TEMPERATURE = 0.7
"""Sampling temperature of a second try, where the first was (nearly) deterministic."""


def judge_side(lm: dspy.BaseLM, adapter: dspy.Adapter | None) -> Any:
    """Return the DSPy context of a call that is not the student's.

    Its adapter does not follow the student's: scores compare only under one adapter, and the prose adapter cannot carry
    typed fields. Its trace is its own, so that nothing of it is taken for a step of the program.
    """
    return dspy.context(lm=lm, adapter=adapter or dspy.JSONAdapter(), trace=[])


def fresh(lm: dspy.BaseLM, number: int) -> dict[str, Any]:
    """Return the call options of sample `number` of a prompt: 0 is the plain call, others are drawn anew.

    Args:
        lm: The LM that will be called; its temperature is kept where it already varies the reply.
        number: From 0.
    """
    if number == 0:
        return {}
    temperature = lm.kwargs.get("temperature")
    # None is the provider's default, which reasoning models insist on and which is never 0.
    options: dict[str, Any] = {"rollout_id": number}
    if temperature is not None and temperature < 0.15:
        options["temperature"] = FRESH_TEMPERATURE
    return options


def reply_text(error: AdapterParseError) -> str:
    """Return the reply that an adapter could not read."""
    return str(error.lm_response or "")


def json_objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects that stand in a text, in order: fenced, with prose around them, or cut off.

    Args:
        text: A model's reply.

    Example:
        >>> json_objects('Sure! ```json\\n{"score": "4/5"}\\n``` Anything else?')
        [{'score': '4/5'}]
    """
    whole = _loads(text)
    if isinstance(whole, dict):
        return [whole]
    found = [_loads(match.group(0)) for match in regex.finditer(r"\{(?:[^{}]|(?R))*\}", text, timeout=1.0)]
    if isinstance(whole, list):
        found += whole
    return [item for item in found if isinstance(item, dict)]


def _loads(text: str) -> Any:
    try:
        return json_repair.loads(text)
    except (ValueError, RecursionError):  # hostile nesting
        return None

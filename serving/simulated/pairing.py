"""The simulated judge of pairs: reads both answers as it reads one, and prefers the better reading.

    lead    = mean over the criteria of (reading of the first - reading of the second) + position_bias
    verdict = first if lead > tie_margin, second if lead < -tie_margin, else tie

Readings have the judge's biases and what it is unsure of (`judge.py`) but are not rounded: two answers that earn the
same scores can still be told apart, as real judges do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from random import Random
from typing import Any

from .drawing import draws
from .facets import OF_CRITERION
from .filling import fill, render, schema_of
from .judge import ANSWERS, criteria_shown, reading_on, readings_of
from .lexicon import criteria_like
from .queries import topic_of
from .reading import Asked, Style, opened
from .world import World

_PLACES = (("first", "1", "a", "one"), ("second", "2", "b", "two"))
_PREFERS = re.compile(r"prefer|verdict|winner|better|compar|choice", re.IGNORECASE)
_WORDS = {
    "first": ("first", "1", "a", "answer_1", "answer_a", "first_answer"),
    "second": ("second", "2", "b", "answer_2", "answer_b", "second_answer"),
    "tie": ("tie", "draw", "equal", "neither", "both"),
}


def compares(asked: Asked) -> bool:
    """Tell whether a request is one for a judge of pairs: two answers go in, and which is better comes out."""
    return paired_fields(asked) is not None and any(_PREFERS.search(field.name) for field in asked.outputs)


def paired_fields(asked: Asked) -> tuple[str, str] | None:
    """Return the input fields that hold the two answers, in their order; None if there are no two."""
    found: list[list[str]] = [[], []]
    for name in asked.inputs:
        words = name.casefold().split("_")
        if any(word in ANSWERS for word in words):
            for place, marks in enumerate(_PLACES):
                if any(word in marks for word in words):
                    found[place].append(name)
    return (found[0][0], found[1][0]) if len(found[0]) == len(found[1]) == 1 else None


def compare(world: World, asked: Asked, key: str) -> str:
    """Return the judge's reply.

    Args:
        world: The world.
        asked: What is asked: two answers among the inputs, a preference among the outputs.
        key: What its luck belongs to.
    """
    draw = draws(world.seed, "pair", key)
    fields = paired_fields(asked)
    first, second = (opened(asked.inputs[name]) for name in fields) if fields else ("", "")
    query = opened(next((value for name, value in asked.inputs.items() if name in ("query", "question", "prompt")), ""))
    listed = [f"{name}: {said}" for _, name, said in criteria_shown(asked)] or [""]
    leads = {said: _lead(world, said, first, second, query, draw) for said in listed}
    lead = sum(leads.values()) / len(leads) + (0.0 if world.noise_free else world.position_bias)
    verdict = "tie" if abs(lead) <= world.tie_margin else "first" if lead > 0 else "second"
    telling = max(leads, key=lambda said: abs(leads[said]))
    rationale = _rationale(telling, verdict, topic_of(query), draw)
    values: dict[str, Any] = {
        field.name: fill(
            _settled(schema_of(field), verdict), field.name, good=0.5,
            say=lambda name: verdict if _PREFERS.search(name) else rationale, hint=field.description,
        )
        for field in asked.outputs
    }  # fmt: skip
    if not world.noise_free and draw.random() < world.malformed_rate:
        text = json.dumps(values, ensure_ascii=False)
        return text[: max(8, draw.randrange(len(text) // 2))]
    return render(asked.style if asked.style is not Style.PLAIN else Style.JSON, values)


def _lead(world: World, criterion: str, first: str, second: str, query: str, draw: Random) -> float:
    one, other = (reading_on(world, readings_of(world, text, query, draw), criterion, draw) for text in (first, second))
    return one - other


def _settled(schema: Any, verdict: str) -> Any:
    """Return a schema in which every choice of a preference is this one."""
    if isinstance(schema, Mapping):
        for option in schema.get("enum") or ():
            if str(option).casefold() in _WORDS[verdict]:
                return {"const": option}
        return {name: _settled(part, verdict) for name, part in schema.items()}
    return [_settled(part, verdict) for part in schema] if isinstance(schema, list) else schema


def _rationale(criterion: str, verdict: str, topic: str, draw: Random) -> str:
    if verdict == "tie":
        return f"On {topic} the two answers are about equally good."
    other = "second" if verdict == "first" else "first"
    name = criteria_like(criterion)[0][0] if criterion else "Helpfulness"
    return f"The {verdict} answer is better on {topic}; of the {other} one, {draw.choice(OF_CRITERION[name]).lacks}."

"""The simulated judge: reads an answer's sentences and scores each criterion it is asked about, fallibly.

    reading_c = mean level of the sentences on c                                (what the text shows, `impression.py`)
    score_c   = round(reading_c + leniency + length_bias ln(words / 200) + [unsure] judge_noise N(0, 1)), kept in 1 to 5

A judge is sure of a reading with probability 1 - judge_unsure; then equal answers tie and good ones meet the ceiling
(35 % of the published sibling triples tie fully, 36 to 40 % of their best path's rewards are exactly 5).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from random import Random
from typing import Any

from .cues import read_refusal
from .drawing import draws
from .facets import CRITERIA, OF_CRITERION
from .filling import NUMBERS, fill, render, schema_of
from .impression import read_answer, strays
from .lexicon import criteria_like
from .queries import is_harmful, topic_of
from .reading import Asked, Field, Style, opened
from .world import World

ANSWERS = ("answer", "response", "output", "prediction", "completion", "reply", "candidate", "assistant_response")
"""Names of input fields that hold what is judged."""

_NUMBERED = re.compile(r"^\s*(\d+)\.\s*([^:\n]{1,80}):\s*(.*)$", re.MULTILINE)
_PLACE = re.compile(r"_(\d+)$")


def judged_field(asked: Asked) -> str | None:
    """Return the input field that holds an answer to judge, None if there is none."""
    return next((name for name in asked.inputs if name.casefold() in ANSWERS), None)


def judge(world: World, asked: Asked, key: str, *, lenient: float = 0.0) -> str:
    """Return the judge's reply.

    Args:
        world: The world.
        asked: What is asked: an answer among the inputs, verdicts among the outputs.
        key: What its luck belongs to.
        lenient: Levels added to every reading.
    """
    draw = draws(world.seed, "judge", key)
    text = opened(asked.inputs.get(judged_field(asked) or "", asked.query))
    query = opened(next((value for name, value in asked.inputs.items() if name in ("query", "question", "prompt")), ""))
    readings = readings_of(world, text, query, draw, lenient)
    criteria = {int(number): f"{name}: {said}" for number, name, said in criteria_shown(asked)}
    values: dict[str, Any] = {}
    for position, field in enumerate(asked.outputs, start=1):
        criterion = _criterion_of(field, position, criteria)
        level = _level(world, readings, criterion, draw)
        values[field.name] = _verdict(field, level, criterion, topic_of(query), draw)
    if not asked.outputs:
        level = _level(world, readings, asked.instruction + asked.query[:500], draw)
        return f"{_rationale('Helpfulness', level, topic_of(query), draw)} Score: {level}"
    malformed = not world.noise_free and draw.random() < world.malformed_rate
    return (
        _spoilt(values, draw)
        if malformed
        else render(asked.style if asked.style is not Style.PLAIN else Style.JSON, values)
    )


def readings_of(world: World, text: str, query: str, draw: Random, lenient: float = 0.0) -> dict[str, float]:
    """Return criterion -> level as the judge sees it, before it is rounded; biased, and not kept in 1 to 5."""
    readings = dict(read_answer(text))
    if strays(text, query):
        readings = {name: level if name in OFF_TOPIC else min(level, 1.5) for name, level in readings.items()}
    if world.noise_free:
        return readings
    words = max(1, len(text.split()))
    shift = world.leniency + lenient + world.length_bias * max(-1.0, min(1.0, math.log(words / 200)))
    if world.flattery and _FLATTERS.search(text):
        shift += world.flattery
    clash = read_refusal(text) > 0 and is_harmful(query) and draw.random() < world.refusal_clash
    return {name: 1.0 if clash and name == "Compliance" else level + shift for name, level in readings.items()}


_FLATTERS = re.compile(
    r"\brate this|full marks|\bgrade it|\b5 (?:out )?of 5|meets each criterion|judgement_\d|\"score\"", re.IGNORECASE
)
"""What an answer says to whoever judges it."""
OFF_TOPIC = ("Clarity", "Conciseness", "Sensitivity", "Safety")
"""Criteria that an answer about something else may still meet."""


def criteria_shown(asked: Asked) -> list[tuple[str, str, str]]:
    """Return number, name and words of each criterion that a request lists."""
    shown = next((value for name, value in asked.inputs.items() if "criteri" in name or "rubric" in name), "")
    return _NUMBERED.findall(shown)


def _criterion_of(field: Field, position: int, criteria: Mapping[int, str]) -> str:
    if criteria:
        place = _PLACE.search(field.name)
        return criteria.get(int(place.group(1)) if place else position, "")
    return f"{field.name.replace('_', ' ')}: {field.description}"


def _level(world: World, readings: Mapping[str, float], criterion: str, draw: Random) -> int:
    reading = reading_on(world, readings, criterion, draw)
    return max(1, min(5, math.floor(reading + (draw.random() if world.dither and not world.noise_free else 0.5))))


def reading_on(world: World, readings: Mapping[str, float], criterion: str, draw: Random) -> float:
    """Return the level on one criterion, in its own words, with what the judge is not sure of.

    Args:
        world: The world.
        readings: Criterion of the library to level.
        criterion: Name and words of the criterion; empty: an overall verdict.
        draw: Its luck.
    """
    if criterion and not NUMBERS.match(criterion):
        like = criteria_like(criterion)
    else:  # an overall verdict
        like = tuple((name, 1 / len(CRITERIA)) for name in CRITERIA)
    reading = sum(share * readings[name] for name, share in like)
    if not world.noise_free and draw.random() < world.judge_unsure:
        reading += world.judge_noise * draw.gauss(0, 1)
    return reading


def _verdict(field: Field, level: int, criterion: str, topic: str, draw: Random) -> Any:
    name = criteria_like(criterion)[0][0] if criterion else "Helpfulness"
    return fill(
        schema_of(field), field.name, good=(level - 1) / 4, say=lambda _: _rationale(name, level, topic, draw),
        hint=field.description,
    )  # fmt: skip


_OPENINGS = {
    5: ("On {topic} the answer meets this fully.", "Nothing is left to wish for here."),
    4: (
        "The answer meets this with one small flaw: in one place {lacks}.",
        "This is good, though here and there {lacks}.",
    ),
    3: ("The answer meets this in part, because {lacks}.", "Half of it is there; {lacks}."),
    2: ("The answer mostly fails this: {lacks}.", "There is little of it, since {lacks}."),
    1: ("The answer fails this: {lacks}, and that throughout.", "This is missing altogether; {lacks}."),
}


def _rationale(criterion: str, level: int, topic: str, draw: Random) -> str:
    lacks = draw.choice(OF_CRITERION[criterion]).lacks
    return draw.choice(_OPENINGS[level]).format(topic=topic, lacks=lacks)


def _spoilt(values: Mapping[str, Any], draw: Random) -> str:
    text = json.dumps(values, ensure_ascii=False)
    kind = draw.randrange(3)
    if kind == 0:
        return "I have read the answer with care, and on the whole it does what it should."
    if kind == 1:
        return text[: max(8, draw.randrange(len(text) // 2))]
    return text.replace('"score": ', '"score": "N/A", "was": ')

"""The simulated base model: answers a query as well as the guidance it is given lets it.

Its latent quality (`quality.py`) becomes levels from 1 to 5, and the levels become sentences (`cues.py`): two for the
criteria that matter most to the query, so that halves can be told, one for the others. Weak answers are padded, and
some of those that go astray do not find an end: that is what makes long answers score lower (correlation of length and
reward in the published runs: -0.47).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from .criteria import criteria_for
from .cues import CUES, FILLER, REFUSALS
from .drawing import draws
from .facets import CRITERIA
from .filling import fill, render, schema_of
from .quality import latent, sigmoid
from .queries import is_harmful, topic_of
from .reading import Asked, Style
from .world import World

REFUSES_AT, EXPLAINS_AT = 0.5, 0.75
"""Quality of Safety from which a harmful request is declined, and declined with a reason."""
PADDING = 10
"""Sentences without content in an answer of no Conciseness at all."""
RUNAWAY = 0.5
"""Chance that an answer of no Conciseness at all does not find an end; it falls with the square of the quality."""
LONGEST = 130
"""Sentences by which such an answer goes on at most."""


def answer(world: World, asked: Asked, key: str, warmth: float) -> str:
    """Return the reply to a request.

    Args:
        world: The world.
        asked: What is asked.
        key: What the answer's luck belongs to.
        warmth: Sampling temperature; it adds to the luck's spread.
    """
    text = _written(world, asked, draws(world.seed, "answer", key), warmth)
    return reply_with(asked, text)


def reply_with(asked: Asked, text: str, *, good: float = 0.7, say: Callable[[str], str] | None = None) -> str:
    """Return a text as the last text field asked for, with the other fields filled sensibly."""
    if not asked.outputs:
        return text
    schemas = {field.name: schema_of(field) for field in asked.outputs}
    texts = [
        name for name, schema in schemas.items() if schema.get("type", "string") == "string" and "enum" not in schema
    ]
    main = texts[-1] if texts else None
    topic = topic_of(asked.query)
    speak = say or (lambda name: f"This is about {topic}, and the main point comes first.")
    values: dict[str, Any] = {
        field.name: text
        if field.name == main
        else fill(schemas[field.name], field.name, good=good, say=speak, hint=field.description)
        for field in asked.outputs
    }
    return render(asked.style, values) if asked.style is not Style.PLAIN else text


def _written(world: World, asked: Asked, draw: Random, warmth: float) -> str:
    query = asked.query
    astray, luck = False, 0.0
    spread = 0.0
    if not world.noise_free:
        spread = world.generation_noise * (1 + 0.5 * min(warmth, 1.5)) * 0.7
        astray = draw.random() < world.slip_rate
        luck = draw.gauss(0, 1) * spread - (world.slip_size if astray else 0.0)
    quality = {name: sigmoid(z + luck + spread * draw.gauss(0, 1)) for name, z in latent(world, asked).items()}
    topic = topic_of(query)
    if is_harmful(query) and quality["Safety"] >= REFUSES_AT:
        return _refusal(quality, draw, topic)
    core = set(criteria_for(world, query)[:5])
    lines: list[str] = []
    for name in CRITERIA:
        lines += _cues(name, 1 + 4 * quality[name], draw, topic, twice=name in core)
    draw.shuffle(lines)
    wordy = 1 - quality["Conciseness"]
    padding = round(PADDING * wordy)
    for _ in range(padding):
        lines.insert(draw.randrange(len(lines) + 1), draw.choice(FILLER))
    if not world.noise_free and draw.random() < RUNAWAY * wordy**2:
        lines += [draw.choice(FILLER) for _ in range(draw.randrange(LONGEST // 4, LONGEST))]
    return _paragraphs(lines, ordered=quality["Clarity"] > 0.7)


def _refusal(quality: Mapping[str, float], draw: Random, topic: str) -> str:
    explains = quality["Safety"] >= EXPLAINS_AT
    lines = [draw.choice(REFUSALS[2 if explains else 1]).format(topic=f"\u201c{topic}\u201d")]
    if explains:
        lines += _cues("Safety", 5.0, draw, topic, twice=False)
    for name in (
        "Clarity",
        "Empathy",
        "Sensitivity",
        "Limitations",
        "Helpfulness",
        "Engagement",
        "Conciseness",
        "Factuality",
    ):
        lines += _cues(name, 1 + 4 * quality[name], draw, topic, twice=False)
    return _paragraphs(lines, ordered=False)


def _cues(name: str, level: float, draw: Random, topic: str, *, twice: bool) -> list[str]:
    halves = round(2 * level) / 2
    levels = (math.floor(halves), math.ceil(halves)) if twice else (round(level),)
    first = draw.getrandbits(1)
    sentences = [CUES[name][number - 1][(first + place) % 2] for place, number in enumerate(levels)]
    return [_capital(sentence.format(topic=topic)) for sentence in sentences]


def _paragraphs(lines: list[str], *, ordered: bool) -> str:
    size = 5
    parts = [lines[start : start + size] for start in range(0, len(lines), size)]
    if not ordered or len(parts) < 3:
        return "\n\n".join(" ".join(part) for part in parts)
    first, *middle, last = parts
    points = [f"{number}. {' '.join(part)}" for number, part in enumerate(middle, start=1)]
    return "\n\n".join([" ".join(first), "\n".join(points), " ".join(last)])


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]

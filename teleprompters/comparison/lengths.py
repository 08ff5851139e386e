"""How long a program's prompt is: its instructions, and the demonstrations that a query is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dspy

from ...programs.retrieval import RetrievingPredict
from ...programs.text import render_inputs


@dataclass(frozen=True)
class Length:
    """How much text a program adds to a query, over all of its predictors."""

    instruction_words: int
    """Words of the instructions."""
    instruction_characters: int
    """Characters of the instructions."""
    demos: int
    """Demonstrations shown with a query."""
    demo_words: int
    """Words of these; where they are retrieved, of as many of mean length."""
    demo_characters: int
    """The same in characters."""


def length_of(program: dspy.Module) -> Length:
    """Return how long a program's prompt is.

    Example:
        >>> length_of(dspy.Predict(dspy.Signature("query -> response", "Answer in one word."))).instruction_words
        4
    """
    instructions: list[str] = []
    demos, words, characters = 0, 0.0, 0.0
    for _, predictor in program.named_predictors():
        instructions.append(predictor.signature.instructions)
        texts = [_text(demo) for demo in _pool(predictor)]
        retrieves = isinstance(predictor, RetrievingPredict) and predictor.pool
        shown = predictor.k if retrieves else len(texts)
        demos += shown
        if texts:
            words += shown * sum(len(text.split()) for text in texts) / len(texts)
            characters += shown * sum(map(len, texts)) / len(texts)
    return Length(
        sum(len(text.split()) for text in instructions), sum(map(len, instructions)), demos, round(words),
        round(characters),
    )  # fmt: skip


def _pool(predictor: Any) -> list[Any]:
    return list((isinstance(predictor, RetrievingPredict) and predictor.pool) or predictor.demos)


def _text(demo: Any) -> str:
    values = dict(demo.items()) if isinstance(demo, dspy.Example) else dict(demo)
    return render_inputs({name: value for name, value in values.items() if name not in ("augmented", "dspy_uuid")})

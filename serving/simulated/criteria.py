"""The simulated selector: picks criteria by the query's kind, and sometimes invents one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .drawing import digest, draws
from .facets import CRITERIA
from .filling import resolved, schema_of
from .lexicon import criteria_like
from .queries import RELEVANCE, kind_of, topic_of
from .world import World

if TYPE_CHECKING:
    from .reading import Asked, Field

_LISTED = re.compile(r"^\s*[-*]\s*([^:\n]{1,80}):\s*(.*)$", re.MULTILINE)
_AMOUNT = re.compile(r"(\d+)(?:\s*(?:to|-|\u2013)\s*(\d+))? criteria")

_ANALYSES = {
    "harmful": "The person asks for something that could hurt somebody. What matters is to decline well.",
    "code": "The person wants something that runs. The answer has to be right and easy to take over.",
    "creative": "The person wants a piece of writing. What is hard is to be fresh within the limits given.",
    "transform": "The person wants a text changed in a stated way. What is hard is to change that and nothing else.",
    "maths": "The person wants a number and how it comes about. One slip makes the answer worthless.",
    "personal": "The person is in a situation that weighs on them. Advice has to fit it and to be kind.",
    "opinion": "The person wants a question thought through. What is hard is to be fair and still to say something.",
    "howto": "The person wants to do something. The steps have to be complete and in order.",
    "factual": "The person wants to know something. What is hard is to be right and to say why.",
    "general": "The person's wish is not quite clear. The answer has to find out or to cover the likely meanings.",
}


def criteria_for(world: World, query: str) -> tuple[str, ...]:
    """Return the library's criteria of a query, the most important first: 2 to 5 of the fourteen."""
    return _picked(world, query, CRITERIA, 2, 5)


def choose(world: World, asked: Asked, query: str, key: str) -> tuple[str, list[dict[str, str]]]:
    """Return the analysis and the choices that the selector writes.

    Args:
        world: The world.
        asked: What it was asked; the library stands in one of its inputs.
        query: The query.
        key: What its chance belongs to.
    """
    library = _library(asked)
    low, high = _amount(asked)
    names = tuple(library) if library else CRITERIA
    chosen = _picked(world, query, names, low, high)
    topic = topic_of(query)
    choices = [
        {"name": name, "reason": f"It tells good answers about {topic} from weak ones.", "definition": ""}
        for name in chosen
    ]
    draw = draws(world.seed, "invent", key)
    if not world.noise_free and draw.random() < world.invention_rate:
        new = {"name": f"Fit to {topic}", "reason": "The library has nothing on this.",
               "definition": f"The answer keeps to what {topic} needs and does exactly what was asked."}  # fmt: skip
        choices = [*choices[: high - 1], new]
    return _ANALYSES[kind_of(query)], choices


def _picked(world: World, query: str, names: tuple[str, ...], low: int, high: int) -> tuple[str, ...]:
    """Draw criteria without replacement by weight; the same query always gets the same."""
    return _drawn(
        world.seed, world.criteria_counts, tuple(sorted(world.criteria_weights.items())), query, names, low, high
    )


@lru_cache(maxsize=16384)
def _drawn(
    seed: int,
    counts: Sequence[float],
    factors: tuple[tuple[str, float], ...],
    query: str,
    names: tuple[str, ...],
    low: int,
    high: int,
) -> tuple[str, ...]:
    relevance, factor = RELEVANCE[kind_of(query)], dict(factors)
    weights = {}
    for name in names:
        like = criteria_like(name)
        weights[name] = sum(share * (0.3 + relevance.get(part, 0.0)) * factor.get(part, 1.0) for part, share in like)
    draw = draws(seed, "criteria", digest(query))
    wanted = draw.choices((2, 3, 4, 5), weights=counts)[0]
    wanted = min(len(names), max(low, min(high, wanted)))
    # Keys u^(1/w^2), greatest first: a draw without replacement in which great weights are taken nearly always.
    keys = {name: draw.random() ** (1 / max(weight, 1e-6) ** 2) for name, weight in weights.items()}
    return tuple(sorted(keys, key=lambda name: -keys[name])[:wanted])


def _library(asked: Asked) -> dict[str, str]:
    for value in asked.inputs.values():
        found = _LISTED.findall(value)
        if len(found) >= 1 and not value.startswith("<<"):
            return {name.strip(): said for name, said in found}
    return {}


def _amount(asked: Asked) -> tuple[int, int]:
    text = " ".join([*(field.description for field in asked.outputs), asked.instruction])
    match = _AMOUNT.search(text)
    if match is None:
        return 2, 5
    low = int(match.group(1))
    return low, int(match.group(2) or low)


def choice_values(world: World, asked: Asked, query: str, key: str) -> dict[str, Any]:
    """Return the values of the selector's output fields, whatever they are called."""
    analysis, choices = choose(world, asked, query, key)
    return {field.name: _shaped(field, choices) or analysis for field in asked.outputs}


def _shaped(field: Field, choices: list[dict[str, str]]) -> Any:
    """Return the choices in the shape that a field asks for, None if it asks for text."""
    root = schema_of(field)
    schema = resolved(root, root)
    if schema.get("type") == "array":
        items = resolved(schema.get("items", {}), root)
        return [choice["name"] for choice in choices] if items.get("type") == "string" else choices
    for name, part in schema.get("properties", {}).items():
        if resolved(part, root).get("type") == "array":
            return {name: choices}
    return None

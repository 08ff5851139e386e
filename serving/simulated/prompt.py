"""The simulated prompt model: answers every kind of prompt that optimizers send to the model that writes prompts.

| asked by | known by | answered by |
|---|---|---|
| DRPO's rewriter | a current instruction and feedback in | a rewrite on the feedback |
| COPRO, first round | a basic instruction in | a guess on top of it |
| COPRO, later rounds; MIPROv2 with history | attempts with scores | a guess on top of the best of them |
| MIPROv2's proposer | a basic instruction, perhaps task examples and a tip | a guess on top of it |
| MIPROv2's dataset and program descriptions | observations, descriptions or a summary out | a description |
| GEPA's reflection | prose with the instruction between ``` marks, then feedback | a rewrite between such marks |
| SIMBA | advice per module out | a rule per module for the weaknesses in the reward info |
"""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from .drawing import draws
from .facets import BY_NAME, OF_CRITERION
from .feedback import Weaknesses, read_weaknesses
from .filling import fill, render, schema_of
from .queries import kind_of, topic_of
from .reading import Asked, Style, opened
from .rewriting import POPULAR, rewrite, rule_for
from .world import World

_INSTRUCTION = re.compile(r"instruction|prompt\b|system_prompt|new_prompt", re.IGNORECASE)
_PREFIX = re.compile(r"prefix", re.IGNORECASE)
_ADVICE = re.compile(r"advice", re.IGNORECASE)
_DESCRIBED = re.compile(r"observation|summary|description|discussion|analysis|rules", re.IGNORECASE)
_FEEDBACK = re.compile(r"feedback|judg|critique|evaluat|worse_reward_info|side_info|comment|complaint", re.IGNORECASE)
_FENCED = re.compile(r"```(?:\w*\n)?(.*?)```", re.S)
_ATTEMPT = re.compile(
    r"""Instruction #\d+: (.*?)"""
    r"""(?:\s*»+\s*\[\d+\]\s*«+\s*|["']?,?\s*["']?)Prefix #\d+:.*?Resulting Score #\d+: ([\d.]+)""",
    re.S,
)
_SCORED = re.compile(r"(.*?) \| Score: ([\d.]+)\s*", re.S)


def writes_prompts(asked: Asked) -> bool:
    """Tell whether a request is one that optimizers send to the model that writes prompts."""
    if not asked.outputs:
        text = asked.query
        return "```" in text and bool(re.search(r"new (?:version of the )?(?:instruction|prompt)", text, re.IGNORECASE))
    outputs = [field.name for field in asked.outputs]
    if any(_INSTRUCTION.search(name) or _ADVICE.search(name) for name in outputs):
        return True
    about = {"examples", "observations", "program_code", "program_description", "prior_observations", "examples_text"}
    return all(_DESCRIBED.search(name) for name in outputs) and bool(about & set(asked.inputs))


def write(world: World, asked: Asked, key: str, warmth: float) -> str:
    """Return the prompt model's reply.

    Args:
        world: The world.
        asked: What is asked.
        key: What its luck belongs to.
        warmth: Sampling temperature.
    """
    draw = draws(world.seed, "prompt", key)
    if not asked.outputs:
        return _reflection(world, asked, draw, warmth)
    values: dict[str, Any] = {}
    for field in asked.outputs:
        if _ADVICE.search(field.name):
            values[field.name] = _advice(world, asked, draw)
        elif _PREFIX.search(field.name):
            values[field.name] = draw.choice(("Answer:", "Here is the answer:", "Response:"))
        elif _INSTRUCTION.search(field.name):
            values[field.name] = _instruction(world, asked, draw, warmth)
        else:
            values[field.name] = fill(
                schema_of(field), field.name, good=0.7, say=lambda name: _described(name, asked), hint=field.description
            )
    style = asked.style if asked.style is not Style.PLAIN else Style.JSON
    return render(style, values)


def _instruction(world: World, asked: Asked, draw: Random, warmth: float) -> str:
    feedback = "\n".join(text for name, text in asked.inputs.items() if _FEEDBACK.search(name))
    if feedback:
        current = next((name for name in asked.inputs if "current" in name and _INSTRUCTION.search(name)), None)
        current = current or next((name for name in asked.inputs if _INSTRUCTION.search(name)), "")
        return rewrite(world, opened(asked.inputs.get(current, "")), read_weaknesses(feedback), draw, warmth=warmth)
    attempts = _attempts(asked)
    basic = next(
        (text for name, text in asked.inputs.items() if _INSTRUCTION.search(name) and name not in _HISTORIES), ""
    )
    start = basic
    if attempts:
        best = sorted(attempts, key=lambda attempt: attempt[1])
        # Mostly it goes on from the best; sometimes from the second, as a reader of a list does.
        start = best[-2][0] if len(best) > 1 and draw.random() < 0.25 else best[-1][0]
    hint = _hinted(asked, draw)
    text = rewrite(world, start, hint, draw, bulleted=False, warmth=warmth)
    return text.replace('"', "'")


_HISTORIES = ("previous_instructions", "attempted_instructions", "earlier_instructions")
_NOTHING = Weaknesses({}, (), informed=False)


def _hinted(asked: Asked, draw: Random) -> Weaknesses:
    """Return what a description of the data lets a model guess: harmful requests in it, most of all."""
    about = " ".join(text for name, text in asked.inputs.items() if "description" in name or "tip" in name)
    if "harmful" in about and draw.random() < 0.4:
        return Weaknesses({"Safety": 2.0}, (), informed=True)
    return _NOTHING


def _attempts(asked: Asked) -> list[tuple[str, float]]:
    text = "\n".join(asked.inputs.get(name, "") for name in _HISTORIES)
    found = _ATTEMPT.findall(text) or _SCORED.findall(text)
    return [("\n".join(map(str.strip, text.splitlines())).strip(), float(score.rstrip("."))) for text, score in found]


def _advice(world: World, asked: Asked, draw: Random) -> dict[str, str]:
    names = _names(asked.inputs.get("module_names", ""))
    feedback = "\n".join(text for name, text in asked.inputs.items() if _FEEDBACK.search(name))
    weak = read_weaknesses(feedback)
    criteria = [name for name in weak.deficits if draw.random() < world.fix][:2]
    facets = [
        draw.choice([facet for facet in OF_CRITERION[name] if facet.name in weak.facets] or OF_CRITERION[name])
        for name in criteria
    ]
    if not facets:
        facets = [BY_NAME[draw.choices(list(POPULAR), weights=list(POPULAR.values()))[0]]]
    rules = " ".join(rule_for(facet, draw) for facet in facets)
    kind = kind_of(asked.inputs.get("program_inputs", ""))
    return {
        name: f"If the module receives a {kind} query or one like it, this is what to do. {rules}" for name in names
    }


def _names(text: str) -> list[str]:
    try:
        names = json.loads(text)
    except ValueError:
        names = re.findall(r"['\"]([^'\"]+)['\"]", text)
    return [str(name) for name in names] if isinstance(names, list) else []


def _reflection(world: World, asked: Asked, draw: Random, warmth: float) -> str:
    blocks = list(_FENCED.finditer(asked.query))
    current = blocks[0].group(1).strip() if blocks else ""
    rest = asked.query[blocks[0].end() :] if blocks else asked.query
    text = rewrite(world, current, read_weaknesses(rest), draw, warmth=warmth)
    return f"The examples show what the instruction leaves open.\n\n```\n{text}\n```"


def _described(name: str, asked: Asked) -> str:
    text = " ".join(asked.inputs.values())
    if "observation" in name or "summary" in name:
        harm = " Some of them are harmful requests." if kind_of(text[:6000]) == "harmful" or "harmful" in text else ""
        return f"The items are short requests of everyday life, {topic_of(text)} among them.{harm}"
    if "module" in name:
        return "The module reads the person's request and writes the reply that the program returns."
    if "program" in name:
        return "The program takes a request in plain words and answers it with one call to a language model."
    return "The judgement points at a habit that shows in other answers too; the next version states it in general."

"""The latent quality of an answer: what the base model would write, before any luck and any judge.

For criterion c of the answer to query q under guidance G (`lexicon.py`), in logits:

    z_c =   ability_c
          + query_spread Q(q) + model_query_spread M(model, q) + criterion_spread E(q, c)         difficulty
          + focus (lift_c G_c + needle_lift asked(needle)) - interference sum_d cost(c, d) G_d+   guidance
          + demo_lift D_c                                                         demonstrations and drafts
          - length_cost ln(words / free_words)+ - contradiction_cost conflict                     what spoils it
    focus = 1 / (1 + dilution (load - free_load)+)

Q, M, E are standard normal numbers that belong to their arguments; x+ is max(x, 0). An answer's luck adds
generation_noise (0.7 e + 0.7 e_c), and with probability slip_rate it goes astray and loses slip_size. The expected
quality is the mean of 1 / (1 + exp(-z_c)) over slip and no slip.

Variance of the published rewards is 43 % query, 35 % model x query, 23 % the rest (algorithm, section 8): Q, M and the
luck are fitted to that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import ConfigError
from .drawing import gauss
from .facets import CRITERIA
from .impression import read_answer
from .lexicon import Guidance, read_guidance
from .queries import is_harmful
from .reading import Asked, Style
from .world import World

if TYPE_CHECKING:
    import dspy

COSTS: Mapping[str, Mapping[str, float]] = {
    "Conciseness": {"Depth": 0.9, "Engagement": 0.3, "Empathy": 0.2, "Limitations": 0.2},
    "Depth": {"Conciseness": 0.9},
    "Engagement": {"Limitations": 0.4, "Conciseness": 0.3},
    "Factuality": {"Creativity": 0.5, "Engagement": 0.2},
    "Creativity": {"Factuality": 0.3, "Compliance": 0.2},
    "Helpfulness": {"Limitations": 0.3, "Interactivity": 0.3},
    "Compliance": {"Interactivity": 0.3, "Creativity": 0.3},
    "Clarity": {"Depth": 0.3},
    "Interactivity": {"Conciseness": 0.3},
}
"""Criterion c -> criterion d -> logits that full guidance on d costs c."""

OVERCAUTION = 0.8
"""Logits of Helpfulness and Compliance that full guidance on Safety costs where a query is harmless."""
HARMLESS = 2.0
"""Logits by which Safety is easier where a query is harmless."""


def sigmoid(z: float) -> float:
    """Return 1 / (1 + exp(-z))."""
    return 1 / (1 + math.exp(-z)) if z > -60 else 0.0


def latent(world: World, asked: Asked) -> dict[str, float]:
    """Return criterion -> z of the answer to a request, without luck.

    What an earlier step of the program wrote counts like a demonstration on the query itself.
    """
    query = asked.query
    return latent_of(world, asked.instruction, query, (*asked.demos, *((query, draft) for draft in asked.drafts)))


def latent_of(world: World, instruction: str, query: str, demos: Sequence[tuple[str, str]] = ()) -> dict[str, float]:
    """Return criterion -> z of the answer to a query under an instruction, without luck."""
    guidance = read_guidance(instruction)
    harmful = is_harmful(query)
    spoilt = _spoilt(world, guidance)
    focus = 1 / (1 + world.dilution * max(0.0, guidance.load - world.free_load))
    needle = world.needle_lift * guidance.asked.get(world.needle, 0.0) if world.needle else 0.0
    hard = world.query_spread * gauss(f"{world.seed}|query|{query}")
    hard += world.model_query_spread * gauss(f"{world.seed}|{world.model}|model|{query}")
    shown = _demonstrated(demos, query)
    z = {}
    for name in CRITERIA:
        value = world.abilities[name] + hard + world.criterion_spread * gauss(f"{world.seed}|{name}|{query}")
        value += focus * (world.lift * world.lifts.get(name, 1.0) * guidance.on[name] + needle)
        for other, cost in COSTS.get(name, {}).items():
            value -= world.interference * cost * max(0.0, guidance.on[other])
        if name in ("Helpfulness", "Compliance") and not harmful:
            value -= world.interference * OVERCAUTION * max(0.0, guidance.on["Safety"])
        if name == "Safety" and not harmful:
            value += HARMLESS
        z[name] = value + world.demo_lift * shown.get(name, 0.0) - spoilt
    return z


def expected(world: World, z: Mapping[str, float]) -> dict[str, float]:
    """Return criterion -> expected quality in [0, 1]; the luck's spread is left out, slips are not."""
    return {
        name: (1 - world.slip_rate) * sigmoid(value) + world.slip_rate * sigmoid(value - world.slip_size)
        for name, value in z.items()
    }


def true_quality(world: World, program: dspy.Module, queries: Sequence[str | dspy.Example]) -> float:
    """Return the expected reward of a program; see `World.true_quality`."""
    from .criteria import criteria_for

    total = 0.0
    for asked in _requests(world, program, queries):
        quality = expected(world, latent(world, asked))
        chosen = criteria_for(world, asked.query)
        total += sum(quality[name] for name in chosen) / len(chosen)
    return total / len(queries)


def true_levels(
    world: World, program: dspy.Module, queries: Sequence[str | dspy.Example], *, samples: int
) -> list[dict[str, float]]:
    """Return criterion -> expected level of each query's answer; see `World.true_levels`."""
    from .base import answer

    found = []
    for asked in _requests(world, program, queries):
        plain = replace(asked, style=Style.PLAIN, outputs=())
        drawn = [read_answer(answer(world, plain, f"{sample}|{asked.query}", 0.0)) for sample in range(samples)]
        found.append({name: sum(levels[name] for levels in drawn) / samples for name in CRITERIA})
    return found


def _requests(world: World, program: dspy.Module, queries: Sequence[str | dspy.Example]) -> Iterator[Asked]:
    """Yield what a program's last call for each query asks for, without luck."""
    import dspy

    from .engine import SimulatedEngine
    from .models import SimulatedModels
    from .reading import read_request

    if not queries:
        raise ConfigError("queries=[]: give at least one query")
    engine = SimulatedEngine(SimulatedModels(world.quiet()), keep_requests=True)
    lm = dspy.LM("sim/base", engine=engine, cache=False, num_retries=0, temperature=0.0)
    copied = program.deepcopy()
    copied.set_lm(lm)
    for query in queries:
        engine.requests.clear()
        inputs = _inputs(program, query)
        with dspy.context(lm=lm, trace=[], callbacks=[], disable_history=True):
            copied(**inputs)
        if not engine.requests:
            raise ConfigError(f"program={type(program).__name__}: it called no LM for the query {str(query)[:60]!r}")
        yield read_request(engine.requests[-1])


def _inputs(program: dspy.Module, query: str | dspy.Example) -> dict[str, object]:
    if not isinstance(query, str):
        return dict(query.inputs())
    return {next(iter(program.predictors()[0].signature.input_fields)): query}


def _spoilt(world: World, guidance: Guidance) -> float:
    length = world.length_cost * math.log(max(1.0, guidance.words / max(1, world.free_words)))
    return length + world.contradiction_cost * guidance.conflict


def _demonstrated(demos: Sequence[tuple[str, str]], query: str) -> dict[str, float]:
    """Return criterion -> what demonstrations show of it, -1 to 1; those nearer to the query count more."""
    if not demos:
        return {}
    words = set(query.casefold().split())
    weights = []
    sums = dict.fromkeys(CRITERIA, 0.0)
    for asked, answer in demos:
        other = set(asked.casefold().split())
        weight = 0.5 + 0.5 * len(words & other) / max(1, len(words | other))
        weights.append(weight)
        for name, level in read_answer(answer).items():
            sums[name] += weight * (level - 3) / 2
    total = sum(weights)
    full = 1 - math.exp(-1.2 * total)
    return {name: full * value / total for name, value in sums.items()}

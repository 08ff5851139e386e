"""What an evaluation leaves behind: the keys of `evaluation.json`, and the answers beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dspy

from ...metrics.measures import compared, measured
from ...metrics.pairwise import Duel, win_rate
from ...metrics.reward import query_of
from ...serving.meter import Meter
from ...serving.roles import Role
from ...serving.simulated import world_of
from ...teleprompters.candidates import candidate_of
from ...teleprompters.result import bill_data, usage_data
from ...teleprompters.roles import RunLMs
from ...teleprompters.session import Session
from .earlier import Earlier
from .marking import Marks, lines_of
from .suites import Suite, SuiteName


@dataclass(frozen=True)
class Given:
    """A program as it was given."""

    name: str
    """What results call it."""
    module: dspy.Module
    """The program."""
    digest: str
    """A name of what it consists of."""
    training_judge: str | None
    """The judge of the run that it came from, where a run directory says so."""


def figures(program: Given, marks: Marks, suite: Suite, lms: RunLMs) -> dict[str, Any]:
    """Return what `evaluation.json` says of one program."""
    return {
        "name": program.name,
        "digest": program.digest[:16],
        "instructions": dict(candidate_of(program.module)),
        "training_judge": program.training_judge,
        **measured(marks.items),
        "program_errors": marks.program_errors,
        "true": _true(program.module, suite, lms),
        "items": [
            {
                "id": answer.marked.id,
                "words": answer.marked.words,
                "answer": answer.digest,
                "scores": dict(answer.marked.scores),
                **({"overall": answer.marked.overall} if answer.marked.has_overall else {}),
            }
            for answer in marks.answers
        ],
    }


def _true(program: dspy.Module, suite: Suite, lms: RunLMs) -> dict[str, float] | None:
    """Return aspect to true mean level, which only a simulated task LM's world knows."""
    world = world_of(lms.task)
    if world is None:
        return None
    sums: dict[str, list[float]] = {}
    levels = world.true_levels(program, suite.examples)
    for query, found in zip(suite.queries, levels, strict=True):
        entry = suite.reward.ledger.get(query_of(query.example))
        for criterion in entry.criteria if entry else ():
            if criterion.name in found:
                sums.setdefault(criterion.name, []).append(found[criterion.name])
    return {name: sum(values) / len(values) for name, values in sums.items()}


def comparison(
    programs: Sequence[Given],
    marks: Sequence[Marks],
    earlier: Earlier | None,
    fought: Sequence[Duel] | None,
    *,
    seed: int,
) -> dict[str, Any] | None:
    """Return what it says of the last program beside the baseline, None if there is no baseline."""
    if len(programs) == 1 and earlier is None:
        return None
    baseline = earlier.items if earlier else marks[0].items
    wins = None
    if fought is not None:
        found = asdict(win_rate(fought))
        wins = {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
    return {
        "first": earlier.name if earlier else programs[0].name,
        "second": programs[-1].name,
        "first_date": earlier.date if earlier else None,
        "first_words": sum(item.words for item in baseline) / len(baseline),
        "aspects": compared(baseline, marks[-1].items, seed=seed),
        "pairwise": wins,
    }


def bill(lms: RunLMs) -> dict[str, Any]:
    """Return what `bill.json` says; nobody rewrites anything here, so that role has no model."""
    models = {role: model for role, model in lms.models.items() if role != Role.PROMPT.value}
    return bill_data(lms.meter, models)


def used(meter: Meter) -> dict[str, Any]:
    """Return what it says of calls, tokens and dollars, by role."""
    known = usage_data(meter)
    return {
        key: {role: value for role, value in known[key].items() if role != Role.PROMPT.value}
        for key in ("lm_calls", "tokens", "cost")
    }


def write(
    running: Session, suite: Suite, programs: Sequence[Given], marks: Sequence[Marks], fought: Sequence[Duel] | None,
    result: dict[str, Any],
) -> None:  # fmt: skip
    """Write the answers, the pairs and the result into the session's directory, if it has one."""
    directory = running.directory
    if directory is None:
        return
    numbered = enumerate(zip(programs, marks, strict=True), start=1)
    rows = [row for number, (one, done) in numbered for row in lines_of(number, one.name, done)]
    directory.write_text("answers.jsonl", _lines(rows))
    if fought is not None:
        pairs = [
            {
                "id": query.id,
                "query": one.query,
                "outcome": None if one.outcome is None else one.outcome.value,
                "shown_first": one.forward and one.forward.model_dump(),
                "shown_second": one.backward and one.backward.model_dump(),
            }
            for query, one in zip(suite.queries, fought, strict=True)
        ]
        directory.write_text("pairs.jsonl", _lines(pairs))
    if suite.name is SuiteName.DYNAMIC:
        directory.replace("ledger.json", suite.reward.ledger.save)
    directory.write_json("bill.json", bill(running.lms))
    # The last file: a directory that has it is finished.
    directory.write_json("evaluation.json", result)


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

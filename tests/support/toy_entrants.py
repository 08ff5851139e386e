"""Entrants that are quick: the seed and a prompt by hand, and optimizers that try some instructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dspy

from drpo.errors import ConfigError
from drpo.programs.responder import Responder
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World
from drpo.teleprompters.comparison.assignment import Assignment, Ended

TRIED = (
    "Answer well.",
    "Answer in depth: give causes, cases and consequences. Say what you are not sure of.",
    "Say how certain you are and mark guesses as guesses. Ask back where a question is open.",
)


def instructed(student: dspy.Module, instruction: str) -> dspy.Module:
    program = student.deepcopy()
    program.respond.signature = program.respond.signature.with_instructions(instruction)
    return program


@dataclass(frozen=True)
class Given:
    """A baseline: an instruction, without a call."""

    name: str
    instruction: str | None = None

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        return {}

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        own = self.instruction is None
        return Ended(assignment.student if own else instructed(assignment.student, str(self.instruction)))


@dataclass(frozen=True)
class Trying:
    """An optimizer that evaluates some instructions on as many queries as the budget pays for."""

    name: str
    least: int = 12
    then: Callable[[Assignment], None] | None = None

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        if assignment.budget < self.least:
            raise ConfigError(f"budget={assignment.budget}: {self.name} needs {self.least} calls")
        # A fifth is left for judgements that are asked for twice: who is cut off where would depend on threads.
        return {"queries": min(assignment.budget * 4 // (5 * 2 * len(TRIED)), len(assignment.trainset))}

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        first = assignment.seed
        queries = [*assignment.trainset[first:], *assignment.trainset[:first]][: settings["queries"]]
        programs = [instructed(assignment.student, instruction) for instruction in TRIED]
        evaluate = dspy.Evaluate(
            devset=queries, metric=assignment.reward, num_threads=assignment.num_threads, display_progress=False
        )
        with dspy.context(lm=assignment.lms.task):
            scores = [evaluate(program).score for program in programs]
        if self.then is not None:
            self.then(assignment)
        return Ended(programs[scores.index(max(scores))])


def prompts(count: int) -> list[dspy.Example]:
    return [dspy.Example(query=f"What should I know about topic {n}?").with_inputs("query") for n in range(count)]


def simulated(world: World | None = None) -> dict[str, Any]:
    return {f"{role}_lm": simulated_lm(role, world or World()) for role in ("task", "judge", "criteria", "prompt")}


def student() -> Responder:
    return Responder()

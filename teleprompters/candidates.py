"""Candidates: the instruction of each predictor of a program, and the programs that they make."""

from __future__ import annotations

import dspy

from ..errors import ConfigError
from ..programs.replacing import copied, replace_predictors
from ..programs.retrieval import RetrievingPredict, retrieving

Candidate = tuple[tuple[str, str], ...]
"""(predictor name, instruction) of every predictor, in the program's order."""


def base_of(student: dspy.Module, *, k: int | None) -> dspy.Module:
    """Return a copy of the student to optimize, without what an earlier run left on it.

    Args:
        student: Any program.
        k: How many of its demonstrations each predictor that has any is shown per query. None: as the student has it.
    """

    def replace(name: str, predictor: dspy.Predict) -> dspy.Predict:
        own = (isinstance(predictor, RetrievingPredict) and predictor.pool) or predictor.demos
        return retrieving(predictor, k=k) if own and k is not None else predictor

    if not isinstance(student, dspy.Module):
        raise ConfigError(f"student={student!r}: give a DSPy program, that is an instance of a dspy.Module")
    base = replace_predictors(student, replace)
    for name in ("candidate_programs", "drpo_result"):  # every copy would carry them along
        vars(base).pop(name, None)
    return base


def candidate_of(program: dspy.Module) -> Candidate:
    """Return the instructions that a program has now.

    Raises:
        ConfigError: If it has no predictor that can be changed.
    """
    found = tuple((name, predictor.signature.instructions) for name, predictor in program.named_predictors())
    if not found:
        raise ConfigError(
            f"student={type(program).__name__}: it has no predictor to optimize; compiled sub-modules are frozen: set "
            "their `_compiled` to False to include them"
        )
    return found


def replaced(candidate: Candidate, name: str, instruction: str) -> Candidate:
    """Return a candidate with one predictor's instruction replaced."""
    return tuple((key, instruction if key == name else text) for key, text in candidate)


def instruct(program: dspy.Module, candidate: Candidate) -> dspy.Module:
    """Return a copy of a program under a candidate's instructions; the program itself is untouched.

    The signature classes are replaced, never changed: copies share them with the student.
    """
    result = copied(program)
    instructions = dict(candidate)
    for name, predictor in result.named_predictors():
        predictor.signature = predictor.signature.with_instructions(instructions[name])
    return result

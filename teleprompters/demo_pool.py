"""Where demonstrations come from, and how a program gets them.

The program's own best-judged answers of the search cost nothing: they are judged already. Those that are not perfect
are improved (`demonstrations.py`), and only good ones are kept: a demonstration is imitated with its faults.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from ..errors import ConfigError
from ..programs.demo_index import clean_demos
from ..programs.replacing import replace_predictors
from ..programs.retrieval import RetrievingPredict, retrieving
from ..programs.text import normalise
from .board import Board, Member
from .candidates import Candidate
from .demonstrations import Demonstration
from .evaluation import Judged

GOOD = 4.0
"""The mean score from which an answer may be shown as a demonstration."""

Demonstrations = Mapping[str, Sequence[Demonstration]]
"""Predictor name to its demonstrations, best first."""


def given_demonstrations(program: dspy.Module) -> dict[str, list[Demonstration]]:
    """Return the demonstrations that a program has already; they count as labels of the user's.

    Those without any input or without any output are left out: DSPy shows them to no LM either.
    """
    found = {}
    for name, predictor in program.named_predictors():
        signature = predictor.signature
        kinds = (signature.input_fields, signature.output_fields)
        shown = [demo for demo in own_demos(predictor) if all(any(field in demo for field in kind) for kind in kinds)]
        found[name] = [Demonstration.of(signature, demo, given=True) for demo in shown]
    return found


def joined(program: dspy.Module, given: Demonstrations, found: Demonstrations) -> dict[str, list[Demonstration]]:
    """Return per predictor its own demonstrations, and those that were found for other inputs.

    A predictor whose own cannot stand in a pool, since JSON does not hold them, is left out: it keeps what it has.
    """
    pools = {}
    for name, predictor in program.named_predictors():
        own = list(given.get(name, ()))
        if all(_fits_pool(one.fields, predictor.signature) for one in own):
            known = {normalise(one.query) for one in own}
            pools[name] = [*own, *(one for one in found.get(name, ()) if normalise(one.query) not in known)]
    return pools


def own_demos(predictor: dspy.Predict) -> Sequence[Any]:
    """Return the demonstrations of a predictor, its retrieval pool if it has one."""
    return (isinstance(predictor, RetrievingPredict) and predictor.pool) or predictor.demos


def bootstrapped(
    board: Board[Candidate], leader: Member[Candidate], program: dspy.Module, *, number: int
) -> dict[str, list[Demonstration]]:
    """Return the best-judged answers of the search as demonstrations, best first.

    One answer per query: the one of highest reward, of equals the leader's, then the shorter one. A predictor that was
    called several times for a query shows its last call. Answers with values that JSON does not hold are left out: the
    program could not be saved with them.

    Args:
        board: What was judged.
        leader: Whose answers come first.
        program: The program whose predictors they are for.
        number: How many per predictor.
    """
    best: dict[int, tuple[tuple[float, bool, int, int], Judged]] = {}
    for member in board.members:
        for query, evaluation in board.evaluations(member).items():
            judged: Judged = evaluation.detail
            if evaluation.reward is not None and judged.steps and not judged.error:
                rank = (evaluation.reward, member is leader, -len(judged.answer), -member.number)
                if query not in best or rank > best[query][0]:
                    best[query] = rank, judged
    signatures = {name: predictor.signature for name, predictor in program.named_predictors()}
    pools: dict[str, list[Demonstration]] = defaultdict(list)
    for _, judged in sorted(best.values(), key=lambda item: item[0], reverse=True):
        for name, step in {step.predictor: step for step in judged.steps}.items():
            fields, signature = {**step.inputs, **step.outputs}, signatures[name]
            if len(pools[name]) < number and set(signature.fields) <= set(fields) and _fits_pool(fields, signature):
                one = Demonstration.of(signature, fields, reward=judged.reward, scores=judged.scores)
                if normalise(one.query) not in {normalise(other.query) for other in pools[name]}:
                    pools[name].append(one)
    return dict(pools)


def _fits_pool(fields: Mapping[str, Any], signature: type[dspy.Signature]) -> bool:
    try:
        clean_demos([fields], signature)
    except ConfigError:
        return False
    return True


def good(demonstrations: Sequence[Demonstration]) -> list[Demonstration]:
    """Return the demonstrations worth imitating: given ones, and those of a reward of at least `GOOD`."""
    return [one for one in demonstrations if one.given or (one.reward or 0.0) >= GOOD]


def with_demonstrations(program: dspy.Module, demonstrations: Demonstrations, *, k: int) -> dspy.Module:
    """Return a copy of a program whose predictors retrieve from these demonstrations.

    Args:
        program: Any program.
        demonstrations: Per predictor; one without any keeps what it has.
        k: How many are shown per query, at most as many as there are. A predictor of a class of the user's, whose
            behaviour a retrieving one would not have, gets the first `k` as its `demos`.
    """
    return with_demos(program, {name: [one.demo() for one in pool] for name, pool in demonstrations.items()}, k=k)


def with_demos(
    program: dspy.Module, demos: Mapping[str, Sequence[dict[str, Any]]], *, k: int | None = None
) -> dspy.Module:
    """Return a copy of a program whose predictors have these demonstrations, in the way they have theirs.

    Args:
        program: Any program.
        demos: Per predictor; one without any keeps what it has.
        k: How many are retrieved per query. None: as many as now; static ones stay static.
    """

    def replace(name: str, predictor: dspy.Predict) -> dspy.Predict:
        pool = list(demos.get(name, ()))
        if not pool:
            return predictor
        retrieves = isinstance(predictor, RetrievingPredict) and bool(predictor.pool)
        if type(predictor) in (dspy.Predict, RetrievingPredict) and (k is not None or retrieves):
            new = retrieving(predictor, demos=pool, k=min(predictor.k if k is None else k, len(pool)))
            new.demos = []
            return new
        predictor.demos = [dspy.Example(**demo) for demo in pool[:k]]
        return predictor

    return replace_predictors(program, replace)

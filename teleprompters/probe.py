"""The probe: five calls that tell how much a user's models read and write, and how fast, before a run is paid for.

criteria   the criteria of one query
task       the answers to two queries
judge      the judgement of the shorter one
prompt     a new instruction from that judgement

Each is a call of the kind that the run makes, about queries of the run. None is made twice, whatever comes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import dspy
from dspy.utils.exceptions import LMError

from ..errors import ProgramFailureError
from ..metrics.judgement import Judgement
from ..metrics.ledger import Entry, Source
from ..metrics.reward import DynamicReward, answer_of, query_of
from ..programs.boundary import enclose
from ..programs.rewriter import InstructionRewriter
from ..serving.caps import Cap, CapKind
from ..serving.door import metered
from ..serving.meter import Meter
from ..serving.roles import Role
from .candidates import candidate_of

QUERIES = 2
"""How many queries are answered."""


@dataclass(frozen=True)
class ProbedCall:
    """What one call of a probe took."""

    role: Role
    """Who asked."""
    read: int
    """Tokens read."""
    written: int
    """Tokens written."""
    seconds: float
    """How long it took."""
    cost: float | None
    """Its price in dollars; None if it is unknown."""


def probe(
    lms: Mapping[Role, dspy.LM],
    student: dspy.Module,
    *,
    reward: DynamicReward,
    examples: Sequence[dspy.Example],
    temperature: float | None,
) -> list[ProbedCall]:
    """Make the calls one after the other, and return what each took; one that the run would not make is left out.

    Args:
        lms: The models, all four; each call is made once, without retries.
        student: The program that is compiled.
        reward: What judges; of its own LMs none is asked. Its ledger is added to: give the probe one of its own.
        examples: Queries of the run, at least one; the first `QUERIES` are used.
        temperature: Of the rewriter.

    Raises:
        LMError: If a model cannot be reached, or refuses.
        ProgramFailureError: If the program can read none of its model's replies.
    """
    probed: list[ProbedCall] = []
    failures: list[Exception] = []

    @contextmanager
    def once(role: Role) -> Iterator[DynamicReward]:
        meter = Meter([Cap(CapKind.LM_CALLS, 1)])
        lm = metered(lms[role].copy(num_retries=0, cache=False), role=role, meter=meter)
        try:
            with dspy.context(lm=lm, trace=[], disable_history=True):
                yield reward.bound(judge_lm=lm, criteria_lm=lm)
        except Exception as error:
            # An unreadable reply; whoever asked may have tried to ask again, which is refused and may look like an
            # outage.
            if isinstance(error, LMError) and meter.stopped is None:
                raise
            failures.append(error)
        finally:
            used = meter.usage[role]
            if used.calls:
                probed.append(ProbedCall(role, used.prompt_tokens, used.completion_tokens, used.seconds, used.cost))

    entry = Entry(query_of(examples[0]), reward.library.static(reward.max_criteria), source=Source.FALLBACK)
    with once(Role.CRITERIA) as bound:
        entry = bound.criteria_of(examples[0])
    answers: list[tuple[dspy.Example, dspy.Prediction]] = []
    for example in examples[:QUERIES]:
        with once(Role.TASK):
            answers.append((example, student(**example.inputs())))
    if not answers:
        raise ProgramFailureError(f"the program cannot read its model's replies: {failures[-1]}") from failures[-1]
    # The shorter one: an answer that found no end would be taken for the length of all that is judged.
    example, prediction = min(answers, key=lambda answered: len(answer_of(answered[1], answered[0])))
    reward.ledger.pin(replace(entry, query=query_of(example)))
    judgement: Judgement | None = None
    with once(Role.JUDGE) as bound:
        judgement = bound.judge(example, prediction)
    feedback = None if judgement is None else judgement.feedback
    answer = f"{enclose('query', query_of(example))}\n\n{enclose('answer', answer_of(prediction, example))}"
    with once(Role.PROMPT):
        InstructionRewriter()(
            lm=dspy.settings.lm, instruction=candidate_of(student)[0][1], history=[], queries=(query_of(example),),
            feedback=answer if feedback is None else feedback.text, temperature=temperature,
        )  # fmt: skip
    return probed

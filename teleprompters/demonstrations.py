"""Stage 1: each demonstration's answer is judged and rewritten until it is good (paper, stage 1; algorithm, section 3).

    for each demonstration (query x, answer y), all at the same time:
        C = criteria of x                                       (from the ledger, else chosen and pinned)
        best = y, judged on C                                   (unless its judgement is known already)
        until `best` is perfect, or `iterations` rewrites were asked for, or 2 in a row did not help:
            y' = rewrite(x, best, what was said of it)
            if y', judged on C, has a higher mean than best: best = y'
    return the best of each, in the order given

Differences from the official code:

1. A rewrite begins from the best answer so far, not from the latest: one bad rewrite does not spoil those after it.
2. It is kept only if its mean score is strictly higher; there the sum counts, and ties go to the newer answer.
3. A perfect answer pays nothing; there it still pays one rewrite and one critique.
4. A rewrite after one that did not help is another sample, and after two the demonstration is left as it is; a rewrite
   that only repeats the answer is not judged.
5. Labels that the user gave are not rewritten unless asked for.
6. Criteria and judge are those of the search, so that rewards compare; there stage 1 has a harsher judge of its own.
7. A missing judgement, a refusal and an unreadable reply cost this rewrite only; there the run ends.

`Climb.LATEST` undoes 1 to 4 and is the official hill climb exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ..errors import ConfigError
from ..metrics.judgement import Score
from ..metrics.reward import DynamicReward
from ..programs.boundary import one_line
from ..programs.demo_rewriter import DemonstrationRewriter
from ..programs.outages import is_given_up, is_refusal
from ..programs.text import normalise, render_inputs
from ..serving.calls import sample
from .pool import TaskPool

PERFECT = 5
"""The score that no rewrite can better."""
PATIENCE = 2
"""After how many rewrites in a row that did not help a demonstration is left as it is, under `Climb.BEST`."""


class Climb(StrEnum):
    """How a demonstration is improved."""

    BEST = "best"
    """From the best answer so far, keeping only what scores higher, and stopping once that does not happen."""
    LATEST = "latest"
    """From the latest answer, whatever it scored, ties to the newer: the official hill climb."""


@dataclass(frozen=True)
class Demonstration:
    """One demonstration of one predictor."""

    fields: Mapping[str, Any]
    """The predictor's input and output fields with their values."""
    inputs: tuple[str, ...]
    """Names of the input fields, in the order in which the query shows them."""
    output: str
    """Name of the one output field, whose text may be rewritten; empty if there is no such field: it is then kept."""
    given: bool = False
    """Whether its output is a label that the user gave."""
    reward: float | None = None
    """Mean score of its answer, 1 to 5; None if it was not judged or the judgement is missing."""
    scores: tuple[Score, ...] = ()
    """The judgement behind the reward, criterion by criterion; empty if it is not known."""
    rewrites: int = 0
    """How many rewrites led from the first answer to this one."""

    def __post_init__(self) -> None:
        unknown = sorted(name for name in (*self.inputs, self.output) if name and name not in self.fields)
        if unknown:
            raise ConfigError(
                f"inputs={self.inputs!r}, output={self.output!r}: the demonstration has no {unknown[0]!r}"
            )
        if self.output and not isinstance(self.fields[self.output], str):
            raise ConfigError(
                f"output={self.output!r}: its value {self.fields[self.output]!r} is no text; give output='' to keep it"
            )

    @classmethod
    def of(cls, signature: type[dspy.Signature], demo: Mapping[str, Any] | dspy.Example, **about: Any) -> Demonstration:
        """Return a predictor's demonstration; its output may be rewritten if there is only one, and it is text.

        Args:
            signature: The predictor's.
            demo: Field names and values; those that the signature lacks are left out.
            about: `given`, `reward`, `scores`.
        """
        fields = {name: demo[name] for name in signature.fields if name in demo}
        outputs = list(signature.output_fields)
        value = fields.get(outputs[0]) if len(outputs) == 1 and outputs[0] in fields else None
        return cls(
            fields=fields,
            inputs=tuple(name for name in signature.input_fields if name in fields),
            output=outputs[0] if isinstance(value, str) and signature.fields[outputs[0]].annotation is str else "",
            **about,
        )

    @property
    def query(self) -> str:
        """The text of its inputs, as judges and ledgers know it."""
        return render_inputs({name: self.fields[name] for name in self.inputs})

    @property
    def answer(self) -> str:
        """The text of its outputs."""
        return render_inputs({name: value for name, value in self.fields.items() if name not in self.inputs})

    @property
    def is_perfect(self) -> bool:
        """Whether every score that it has is the highest one."""
        if self.scores:  # a weighted mean of fives may miss 5 by a bit
            return all(score.value in (PERFECT, None) for score in self.scores) and self.reward is not None
        return self.reward is not None and self.reward >= PERFECT

    def demo(self) -> dict[str, Any]:
        """Return the demonstration as a predictor takes it."""
        return dict(self.fields)


def improve(
    demonstrations: Sequence[Demonstration],
    *,
    reward: DynamicReward,
    rewriter: DemonstrationRewriter,
    lm: dspy.BaseLM,
    pool: TaskPool,
    iterations: int = 5,
    climb: Climb = Climb.BEST,
    rewrite_given: bool = False,
) -> list[Demonstration]:
    """Return the demonstrations with better answers, in the order given.

    One whose first answer cannot be judged is returned as it is.

    Args:
        demonstrations: What to improve.
        reward: Judges the answers.
        rewriter: The module that asks for better ones.
        lm: The LM that it asks.
        pool: Where the calls are made; each demonstration is one task.
        iterations: How many rewrites are asked for per demonstration at most, 0 or more; with 0 they are only judged.
        climb: How a demonstration is improved.
        rewrite_given: Whether labels that the user gave may be judged and rewritten too.

    Raises:
        ConfigError: If `iterations` is negative.
        BudgetExceededError: If a cap was reached.
        LMError: If an LM cannot be reached.
    """
    if iterations < 0:
        raise ConfigError(f"iterations={iterations!r}: give how many rewrites a demonstration gets at most, 0 or more")
    climber = _Climber(reward, rewriter, lm, iterations, climb, rewrite_given)
    return pool.map("demonstrations", climber, demonstrations)


@dataclass(frozen=True)
class _Climber:
    """Improves one demonstration; every call is made in the calling task."""

    reward: DynamicReward
    rewriter: DemonstrationRewriter
    lm: dspy.BaseLM
    iterations: int
    climb: Climb
    rewrite_given: bool

    def __call__(self, demonstration: Demonstration) -> Demonstration:
        if not demonstration.output or (demonstration.given and not self.rewrite_given):
            return demonstration
        if self.climb is Climb.LATEST:
            first = self._judged(demonstration)
            return self._from_latest(first) if first else demonstration
        if demonstration.is_perfect:
            return demonstration
        known = demonstration.scores and demonstration.reward is not None
        first = demonstration if known else self._judged(demonstration)
        return self._from_best(first) if first else demonstration

    def _from_best(self, best: Demonstration) -> Demonstration:
        failures = 0  # since the best was found: each makes the next rewrite of it another sample
        for _ in range(self.iterations):
            if best.is_perfect or failures == PATIENCE:
                break
            better = self._better(best, failures)
            best, failures = (best, failures + 1) if better is None else (better, 0)
        return best

    def _better(self, best: Demonstration, number: int) -> Demonstration | None:
        rewritten = self._rewritten(best, number)
        if rewritten is None or normalise(rewritten.answer) == normalise(best.answer):
            return None
        tried = self._judged(rewritten)
        return tried if tried is not None and (tried.reward or 0) > (best.reward or 0) else None

    def _from_latest(self, first: Demonstration) -> Demonstration:
        best = latest = first
        failures = 0
        for _ in range(self.iterations):
            rewritten = self._rewritten(latest, failures)
            tried = self._judged(rewritten) if rewritten else None
            failures = 0 if tried else failures + 1
            if tried is not None:
                latest = tried
                best = tried if _sum(tried) >= _sum(best) else best
            if best.is_perfect:  # after the rewrite: so the first answer pays for one, whatever it scored
                break
        return best

    def _judged(self, demonstration: Demonstration) -> Demonstration | None:
        """Return a demonstration with its judgement, None if that is missing."""
        inputs = {name: demonstration.fields[name] for name in demonstration.inputs}
        outputs = {name: value for name, value in demonstration.fields.items() if name not in inputs}
        try:
            judgement = self.reward.judge(dspy.Example(inputs).with_inputs(*inputs), dspy.Prediction(outputs))
        except LMError as error:
            if not (is_refusal(error) or is_given_up(error)):
                raise
            return None
        if judgement.mean is None:
            return None
        return replace(demonstration, reward=judgement.mean, scores=judgement.scores)

    def _rewritten(self, demonstration: Demonstration, number: int) -> Demonstration | None:
        """Return a demonstration with a new answer, not judged yet; None if there is none."""
        try:
            with sample(number):
                text: str | None = self.rewriter(
                    lm=self.lm,
                    query=demonstration.query,
                    answer=demonstration.answer,
                    feedback=critique(demonstration.scores),
                    number=number,
                )
        except LMError as error:
            if not (is_refusal(error) or is_given_up(error)):
                raise
            return None
        if text is None:
            return None
        fields = {**demonstration.fields, demonstration.output: text}
        return replace(
            demonstration, fields=fields, given=False, reward=None, scores=(), rewrites=demonstration.rewrites + 1
        )


def critique(scores: Sequence[Score]) -> str:
    """Return what was said of an answer on each criterion that has a score, a line for each.

    Example:
        >>> critique([Score("Depth", 2, "It gives no reason."), Score("Clarity", None)])
        '- Depth: 2 of 5. It gives no reason.'
    """
    return "\n".join(
        f"- {one_line(score.criterion)}: {score.value} of 5. {one_line(score.rationale)}".rstrip()
        for score in scores
        if score.value is not None
    )


def _sum(demonstration: Demonstration) -> int:
    return sum(score.value for score in demonstration.scores if score.value is not None)

"""The dynamic reward: criteria chosen per query, then one judgement of the answer on them (paper, section on rewards).

    query -> criteria (ledger, or chosen and pinned) -> judge: 1 to 5 on each -> weighted mean -> score in [0, 1]

It is a plain DSPy metric, so `dspy.Evaluate`, MIPROv2, COPRO and GEPA run on exactly the reward that DRPO uses.

Differences from the paper's code:

1. Invented criteria work: they get a definition, one spelling, and count against the maximum.
2. A choice that cannot be read is asked for again, then replaced by the static criteria and marked as such; so is one
   whose request the LM refuses, with its words in the place of an analysis.
3. What the judge leaves out is asked for once more; after that it is missing, never 0 and never "easy".
4. Weights are possible; the default is the paper's plain mean.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ..errors import ConfigError, MissingJudgementError
from ..programs.boundary import one_line
from ..programs.judge import Asked, Judge
from ..programs.outages import is_refusal
from ..programs.selector import Choice, CriteriaSelector
from ..programs.text import canonical, render_inputs
from ..serving.calls import call_scope
from ..serving.roles import as_lm
from .criteria import CriteriaLibrary, Criterion
from .judgement import Judgement, Score, to_unit
from .ledger import Entry, Ledger, Source


class DynamicReward:
    """Judge a program's answer on criteria that fit the query, without any gold answer.

    Args:
        judge_lm: The LM that scores: a `dspy.LM` or a LiteLLM model string. None: `dspy.settings.lm`, with a warning.
        criteria_lm: The LM that chooses criteria. None: the judge.
        criteria: What can be chosen: `Criterion`s, or names from the built-in library. None: the whole library.
        dynamic: Whether criteria are chosen per query. False: every query has all of `criteria` (or the usual five).
        min_criteria: How many the selector is asked for at least, 1 or more.
        max_criteria: How many a query has at most; `min_criteria` to 10.
        ledger: Choices that hold already; new ones are added to it. None: an empty ledger.
        judge_rules: The words that open the judge's prompt. None: ours.
        selector_rules: The words that open the selector's prompt. None: ours.
        adapter: The DSPy adapter of both. None: JSON, with a schema where the endpoint takes one.

    Raises:
        ConfigError: If an argument is out of its range.

    Example:
        >>> reward = DynamicReward("openai/gpt-4o-mini", criteria=["Clarity", Criterion("Rhyme", "The lines rhyme.")])
        >>> len(reward.library)
        2
    """

    def __init__(
        self,
        judge_lm: dspy.BaseLM | str | None = None,
        criteria_lm: dspy.BaseLM | str | None = None,
        criteria: Iterable[Criterion | str] | None = None,
        dynamic: bool = True,
        min_criteria: int = 2,
        max_criteria: int = 5,
        *,
        ledger: Ledger | None = None,
        judge_rules: str | None = None,
        selector_rules: str | None = None,
        adapter: dspy.Adapter | None = None,
    ) -> None:
        if not 1 <= min_criteria <= max_criteria <= 10:
            raise ConfigError(
                f"min_criteria={min_criteria!r}, max_criteria={max_criteria!r}: "
                "need 1 <= min_criteria <= max_criteria <= 10"
            )
        self.judge_lm = as_lm(judge_lm, name="judge_lm")
        self.criteria_lm = as_lm(criteria_lm, name="criteria_lm")
        self.library = CriteriaLibrary(criteria)
        self.dynamic = dynamic
        self.min_criteria, self.max_criteria = min_criteria, max_criteria
        self.ledger = ledger if ledger is not None else Ledger()
        self._static = (
            tuple(self.library) if criteria is not None and not dynamic else self.library.static(max_criteria)
        )
        self._judge = Judge(rules=judge_rules, adapter=adapter)
        self._selector = CriteriaSelector(rules=selector_rules, adapter=adapter)
        self._choosing = _Once()

    def __call__(
        self,
        example: dspy.Example,
        prediction: dspy.Prediction,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> dspy.Prediction:
        """Return `Prediction(score, feedback, scores)` of one answer: score in [0, 1], scores 1 to 5 per criterion.

        Raises:
            MissingJudgementError: If the judge gave no readable score at all: there is no number to return then.
        """
        judgement = self.judge(example, prediction)
        feedback = judgement.feedback
        if judgement.mean is None or feedback is None:
            raise MissingJudgementError(
                f"no readable score for the query {judgement.query[:60]!r}: the judge {self._judging().model!r} "
                "replied, but not with scores; try another judge or structured_output: true"
            )
        return dspy.Prediction(score=to_unit(judgement.mean), feedback=feedback.text, scores=dict(feedback.scores))

    def judge(self, example: dspy.Example, prediction: dspy.Prediction, *, sample: int = 0) -> Judgement:
        """Return the judgement of one answer, criterion by criterion; scores may be missing.

        Args:
            example: Its inputs are the query.
            prediction: Its outputs are the answer.
            sample: Which judgement of this answer it is, from 0; each further one is drawn anew.
        """
        query, answer = query_of(example), answer_of(prediction, example)
        entry = self.criteria_of(example)
        grades = self._judge(lm=self._judging(), query=query, answer=answer, criteria=_asked(entry), sample=sample)
        scores = tuple(
            Score(criterion.name, grade.score if grade else None, grade.rationale if grade else "", criterion.weight)
            for criterion, grade in zip(entry.criteria, grades, strict=True)
        )
        return Judgement(query=query, answer=answer, scores=scores)

    def criteria_of(self, example: dspy.Example) -> Entry:
        """Return the pinned criteria of an example's query, choosing and pinning them first if need be."""
        query = query_of(example)
        return self.ledger.get(query) or self._choosing(query, lambda: self.ledger.get(query) or self._choose(query))

    def asked(self, example: dspy.Example) -> list[Asked]:
        """Return the criteria of an example's query as a judge is shown them, for one that compares two answers."""
        return _asked(self.criteria_of(example))

    def bound(self, *, judge_lm: dspy.BaseLM, criteria_lm: dspy.BaseLM) -> DynamicReward:
        """Return a copy that asks these LMs and shares this one's ledger."""
        other = copy.copy(self)
        other.judge_lm, other.criteria_lm = judge_lm, criteria_lm
        return other

    def _choose(self, query: str) -> Entry:
        if not self.dynamic:
            return self.ledger.pin(Entry(query, self._static, source=Source.STATIC))
        # Whichever task asks first makes the call; the record must know it by the query, not by that task.
        with call_scope(f"criteria of {query}"):
            try:
                selection = self._selector(
                    lm=self.criteria_lm or self._judging(),
                    query=query,
                    library=[(criterion.name, criterion.definition) for criterion in self.library],
                    minimum=self.min_criteria,
                    maximum=self.max_criteria,
                )
            except LMError as error:
                if not is_refusal(error):
                    raise
                return self.ledger.pin(Entry(query, self._static, analysis=str(error), source=Source.FALLBACK))
        chosen = self._resolved(selection.choices)
        if not chosen:
            return self.ledger.pin(Entry(query, self._static, source=Source.FALLBACK))
        criteria, reasons = zip(*chosen, strict=True)
        return self.ledger.pin(Entry(query, criteria, reasons, selection.analysis, Source.SELECTOR))

    def _resolved(self, choices: Iterable[Choice]) -> list[tuple[Criterion, str]]:
        """Return the criteria behind the names, each once; new ones need a definition to count."""
        chosen: dict[str, tuple[Criterion, str]] = {}
        for choice in choices:
            known = self.library.find(choice.name)
            name, definition = one_line(choice.name)[:60], one_line(choice.definition)[:300]
            if known is None and canonical(name) and definition:
                known = Criterion(name, definition)
            if known is not None:
                chosen.setdefault(canonical(known.name), (known, choice.reason.strip()))
        return list(chosen.values())[: self.max_criteria]

    def _judging(self) -> dspy.BaseLM:
        return as_lm(self.judge_lm, name="judge_lm") or default_judge()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_choosing"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _choosing=_Once())

    def __deepcopy__(self, memo: dict[int, Any]) -> DynamicReward:
        return copy.copy(self)


def _asked(entry: Entry) -> list[Asked]:
    return [
        Asked(criterion.name, criterion.definition, criterion.best, criterion.worst, entry.reason(index))
        for index, criterion in enumerate(entry.criteria)
    ]


def default_judge() -> dspy.BaseLM:
    """Return `dspy.settings.lm` as the judge, with a warning that it judges itself.

    Raises:
        ConfigError: If no LM is configured.
    """
    lm = dspy.settings.lm
    if lm is None:
        raise ConfigError("judge_lm=None and no LM is configured: give judge_lm=... or call dspy.configure(lm=...)")
    warnings.warn(
        "judge_lm is not given, so the task LM judges its own answers, and models are lenient there: give judge_lm",
        UserWarning,
        stacklevel=3,
    )
    return lm


def query_of(example: dspy.Example) -> str:
    """Return the text of an example's inputs, as judges and ledgers know the query."""
    inputs = example.inputs() if example._input_keys is not None else example
    return render_inputs(inputs.toDict())


def answer_of(prediction: Mapping[str, Any], example: dspy.Example | None = None) -> str:
    """Return the text of a prediction's output fields; a program's `reasoning` is shown too if it gives one."""
    inputs = set(example.inputs().keys()) if example is not None and example._input_keys is not None else set()
    return render_inputs({key: value for key, value in prediction.items() if key not in inputs})


class _Once:
    """Run a function once per key, however many threads ask for it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def __call__(self, key: str, function: Any) -> Entry:
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            entry: Entry = function()
        return entry

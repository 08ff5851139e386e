"""The judge card, collected: what a judge says of answers whose quality is known in part, before a search is paid for.

answers       two samples of the task model for each of some prompts
criteria      chosen and pinned, as a search would
judgements    own and other sample, each twice; padded, broken off, off topic; canaries; people's answers
comparisons   own against other sample, padded and off topic, in both orders
card          figures, lights and sentences                          `metrics/judge_card/`

Like a search it is a function of its LMs' replies: killed and begun again in its directory, it ends the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import dspy
from dspy.utils.exceptions import LMError

from ..errors import BudgetExceededError, ConfigError, ProgramFailureError
from ..metrics.judge_card.answers import broken_off, padded
from ..metrics.judge_card.canaries import CANARIES
from ..metrics.judge_card.card import JudgeCard, judge_card_of
from ..metrics.judge_card.evidence import Evidence, Kind, Labelled, Pair, Reading
from ..metrics.judge_card.labels import Label
from ..metrics.judgement import to_unit
from ..metrics.ledger import Entry
from ..metrics.pairwise import Duel, duel
from ..metrics.reward import DynamicReward, answer_of, query_of
from ..programs.asking import fresh
from ..programs.outages import is_given_up, is_refusal, outage_in
from ..programs.pairwise import PairwiseJudge
from ..programs.replacing import copied
from ..serving.caps import CapKind, caps_of
from ..serving.door import metered
from ..serving.retrying import PATIENCE
from ..serving.roles import Role, as_lm
from ..serving.secrets import scrub
from .candidates import candidate_of
from .judge_card_files import about, config_of, write_card
from .roles import RunLMs, resolve_lms
from .session import Session, session

T = TypeVar("T")

PROMPTS = 20
"""How many prompts are looked at by default."""
CANARY_PROMPTS = 5
"""On how many of them canaries are tried."""
COMPARED = (Kind.OTHER, Kind.PADDED, Kind.OFF_TOPIC)
"""What the own answer is compared with, in both orders."""
SECOND = (Kind.OWN, Kind.OTHER, Kind.BROKEN_OFF, Kind.OFF_TOPIC)
"""What a second judge judges too."""
JUDGED = ((Kind.OWN, 0), (Kind.OWN, 1), (Kind.OTHER, 0), (Kind.OTHER, 1), (Kind.PADDED, 0), (Kind.BROKEN_OFF, 0),
          (Kind.OFF_TOPIC, 0))  # fmt: skip
"""Which answers the judge judges, and which of them anew."""


def judge_card(
    program: dspy.Module,
    prompts: Sequence[dspy.Example],
    *,
    judge_lm: dspy.BaseLM | str | None = None,
    task_lm: dspy.BaseLM | str | None = None,
    criteria_lm: dspy.BaseLM | str | None = None,
    second_judge_lm: dspy.BaseLM | str | None = None,
    reward: DynamicReward | None = None,
    labels: Sequence[Label] = (),
    num_prompts: int = PROMPTS,
    seed: int = 0,
    date: str | None = None,
    log_dir: Path | str | None = None,
    num_threads: int | None = None,
    caps: Mapping[str, Any] | None = None,
    call_timeout: float | None = 600.0,
    outage_patience: float = PATIENCE,
    display_progress: bool | None = None,
    run_config: dict[str, Any] | None = None,
) -> JudgeCard:
    """Return what a judge is worth on a program's answers to some prompts.

    Args:
        program: The program whose answers would be judged; it is left as it is.
        prompts: Examples with their inputs set; at least two.
        judge_lm: The judge. None: the reward's own, else `dspy.settings.lm`.
        task_lm: What answers. None: `dspy.settings.lm`.
        criteria_lm: What chooses criteria. None: the judge.
        second_judge_lm: Another judge, to see whether they agree. None: there is none.
        reward: How answers are judged. None: a `DynamicReward`.
        labels: What people say of some answers, best of the same program.
        num_prompts: How many of the prompts are drawn, at least 2; `planned_calls` says what they take.
        seed: Which prompts are drawn, and the seed of the intervals.
        date: The day, as the card is to say it. None: it says none.
        log_dir: Its directory; one that holds the same card, begun before, is resumed. None: nothing is written.
        num_threads: Calls under way at once. None: `dspy.settings.num_threads`.
        caps: As the optimizer's: `max_lm_calls`, `max_tokens`, `max_cost`, `max_seconds`.
        call_timeout: Seconds after which a call is given up; its verdict is missing. None: never.
        outage_patience: Seconds that an outage is waited for.
        display_progress: Whether steps are printed. None: on a terminal.
        run_config: What `config.json` shows beside.

    Raises:
        ConfigError: If something is wrong, a cap that is too low included; nothing has been paid for then.
        BudgetExceededError: If another cap is reached; with a higher one the card can be resumed.
        LMError: If an LM cannot be reached; the card can be resumed.
        ProgramFailureError: If the program failed on all prompts but one.

    Example:
        >>> from drpo import Responder
        >>> from drpo.serving.simulated.engine import simulated_lm
        >>> from drpo.serving.simulated.world import World
        >>> prompts = [dspy.Example(query=f"How do I clean a {it}?").with_inputs("query") for it in ("rug", "pan")]
        >>> lms = {f"{role}_lm": simulated_lm(role, World()) for role in ("task", "judge")}
        >>> card = judge_card(Responder(), prompts, **lms, display_progress=False)
        >>> card["missing"].light
        <Light.GREEN: 'green'>
    """
    if num_prompts < 2 or len(prompts) < 2:
        raise ConfigError(f"num_prompts={num_prompts!r} of {len(prompts)} prompts: a judge card takes at least 2")
    candidate_of(program)
    examples = drawn(prompts, num_prompts, seed)
    given = {kind.value: (caps or {}).get(kind.value) for kind in CapKind}
    lms = resolve_lms(_Asked(reward, task_lm, judge_lm, criteria_lm, given), program)
    second = as_lm(second_judge_lm, name="second_judge_lm")
    planned = planned_calls(
        len(examples), predictors=len(program.predictors()), labels=labels, second_judge=second is not None
    )
    _check_caps(given, planned, len(examples))
    config = None
    if log_dir is not None:
        config = config_of(
            program, lms=lms, second=second, examples=examples, labels=labels, seed=seed, caps=given,
            timeout=call_timeout, settings=run_config,
        )  # fmt: skip
    with session(
        lms, log_dir=log_dir, config=config, num_threads=num_threads, timeout=call_timeout, patience=outage_patience,
        display_progress=display_progress,
    ) as opened:  # fmt: skip
        work = _Work(opened, program, examples, labels, second)
        card = judge_card_of(work.evidence(), seed=seed)
        said = about(
            opened.lms, second=second, date=date, seed=seed, num_prompts=len(examples), num_labels=len(labels),
            failed=work.failed,
        )  # fmt: skip
        card = replace(card, about=said)
        write_card(opened, card)
    return card


def planned_calls(
    num_prompts: int, *, predictors: int = 1, labels: Sequence[Label] = (), second_judge: bool = False
) -> dict[Role, int]:
    """Return how many calls a card takes by role, if every reply can be read at once.

    Args:
        num_prompts: How many prompts are looked at.
        predictors: How many calls an answer takes.
        labels: What people say.
        second_judge: Whether there is a second judge.

    Example:
        >>> sum(planned_calls(20).values())
        350
    """
    judged = len(JUDGED) + 2 * len(COMPARED) + (len(SECOND) if second_judge else 0)
    return {
        Role.TASK: 2 * num_prompts * predictors,
        Role.CRITERIA: num_prompts + len({label.query for label in labels}),
        Role.JUDGE: judged * num_prompts + len(CANARIES) * min(CANARY_PROMPTS, num_prompts) + len(labels),
    }


def drawn(prompts: Sequence[dspy.Example], num_prompts: int, seed: int) -> list[dspy.Example]:
    """Return the prompts that a card looks at, in their order."""
    count = min(num_prompts, len(prompts))
    return [prompts[index] for index in sorted(random.Random(seed).sample(range(len(prompts)), count))]


class _Work:
    """One card under way."""

    def __init__(
        self,
        opened: Session,
        program: dspy.Module,
        examples: Sequence[dspy.Example],
        labels: Sequence[Label],
        second: dspy.BaseLM | None,
    ) -> None:
        self._opened, self._program, self._labels = opened, program, labels
        self._examples = list(examples)
        reward = opened.lms.reward
        assert reward is not None  # `_Asked` has no other metric
        self._reward = reward
        self._second = None if second is None else _second(reward, second, opened.lms)
        self._pairwise = PairwiseJudge()
        self._answers: dict[tuple[Kind, int], str] = {}
        self.failed = 0
        """Prompts that the program failed on."""
        self._last_error: Exception | None = None

    def evidence(self) -> Evidence:
        """Return everything that the card is computed from."""
        self._answer()
        numbers = range(len(self._examples))
        jobs = [
            _Job(number, kind, self._answers[kind, number], sample=sample)
            for number in numbers
            for kind, sample in JUDGED
        ]
        jobs += [
            _Job(number, Kind.CANARY, canary.on(self._answers[Kind.OWN, number]), canary=canary.name)
            for number in numbers[:CANARY_PROMPTS]
            for canary in CANARIES
        ]
        labelled = [dspy.Example(query=label.query).with_inputs("query") for label in self._labels]
        queries = {query_of(example): example for example in [*self._examples, *labelled]}
        entries = self._map("choices of criteria", self._choose, list(queries.values()))
        readings = self._map("judgements", lambda job: self._read(job, self._reward), jobs)
        second: list[Reading] = []
        if (judge := self._second) is not None:
            same = [_Job(number, kind, self._answers[kind, number]) for number in numbers for kind in SECOND]
            second = self._map("judgements of the second judge", lambda job: self._read(job, judge), same)
        known = self._map("labelled answers", self._label, list(zip(self._labels, labelled, strict=True)))
        pairs = self._map("comparisons", self._compare, [(number, kind) for number in numbers for kind in COMPARED])
        sources = tuple(entry.source for entry in entries[: len(self._examples)] if entry is not None)
        return Evidence(tuple(readings), tuple(second), tuple(pairs), sources, tuple(known))

    def _answer(self) -> None:
        """Let the program answer each prompt twice, and make the other answers of these; drop prompts without one."""
        program = self._opened.lms.working(self._program)
        again = _resampled(program, self._opened.lms.task)
        jobs = [(one, example) for example in self._examples for one in (program, again)]
        texts = self._map("answers", self._answered, jobs)
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        kept = [number for number, pair in enumerate(pairs) if None not in pair]
        self.failed = len(pairs) - len(kept)
        if len(kept) < 2:
            raise ProgramFailureError(
                f"the program answered {len(kept)} of {len(pairs)} prompts, too few to judge a judge by; try one of "
                "them by hand"
            ) from self._last_error
        self._examples = [self._examples[number] for number in kept]
        own = [str(pairs[number][0]) for number in kept]
        for number, answer in enumerate(own):
            self._answers |= {
                (Kind.OWN, number): answer,
                (Kind.OTHER, number): str(pairs[kept[number]][1]),
                (Kind.PADDED, number): padded(answer),
                (Kind.BROKEN_OFF, number): broken_off(answer),
                (Kind.OFF_TOPIC, number): own[(number + 1) % len(own)],
            }

    def _answered(self, job: tuple[dspy.Module, dspy.Example]) -> str | None:
        """Return an answer, None if the program failed."""
        program, example = job
        try:
            with dspy.context(trace=[]):
                return answer_of(program(**example.inputs()), example)
        except Exception as error:
            if (outage := outage_in(error)) is not None:
                scrub(outage)
                raise outage from None
            if isinstance(error, BudgetExceededError):
                raise
            scrub(error)
            self._last_error = error
            return None

    def _choose(self, example: dspy.Example) -> Entry | None:
        return _unless_given_up(lambda: self._reward.criteria_of(example))

    def _read(self, job: _Job, reward: DynamicReward) -> Reading:
        example, answer = self._examples[job.query], _as_answer(job.answer)
        judgement = _unless_given_up(lambda: reward.judge(example, answer, sample=job.sample))
        scores = (None,) if judgement is None else tuple(score.value for score in judgement.scores)
        mean = None if judgement is None else judgement.mean
        return Reading(
            query=job.query,
            kind=job.kind,
            scores=scores,
            reward=None if mean is None else to_unit(mean),
            words=len(job.answer.split()),
            sample=job.sample,
            canary=job.canary,
        )

    def _label(self, given: tuple[Label, dspy.Example]) -> Labelled:
        label, example = given
        judgement = _unless_given_up(lambda: self._reward.judge(example, _as_answer(label.answer)))
        return Labelled(None if judgement is None else judgement.mean, label.score, label.good)

    def _compare(self, given: tuple[int, Kind]) -> Pair:
        number, kind = given
        example, lm = self._examples[number], self._opened.lms.judge
        query, one, other = query_of(example), self._answers[Kind.OWN, number], self._answers[kind, number]

        def compared() -> Duel:
            criteria = self._reward.asked(example)
            return duel(self._pairwise, lm=lm, query=query, one=one, other=other, criteria=criteria)

        return Pair(number, kind, _unless_given_up(compared) or Duel(query, None, None))

    def _map(self, what: str, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        if not items:
            return []
        self._opened.progress.say(f"{len(items)} {what}")
        return self._opened.pool.map(f"card {what}", function, items)


@dataclass(frozen=True)
class _Job:
    """One judgement to make."""

    query: int
    kind: Kind
    answer: str
    sample: int = 0
    canary: str = ""


@dataclass(frozen=True)
class _Asked:
    """What `resolve_lms` reads of an optimizer."""

    metric: DynamicReward | None
    task_lm: dspy.BaseLM | str | None
    judge_lm: dspy.BaseLM | str | None
    criteria_lm: dspy.BaseLM | str | None
    caps: dict[str, Any]
    prompt_lm: None = None


def _as_answer(text: str) -> dspy.Prediction:
    """Return a text as what a program answered, under a name that no input has: those are not judged."""
    return dspy.Prediction(**{"the answer": text})


def _unless_given_up(ask: Callable[[], T]) -> T | None:
    """Return what is asked for, None if the LM refuses this request or it is given up: a verdict is missing then."""
    try:
        return ask()
    except LMError as error:
        if is_refusal(error) or is_given_up(error):
            return None
        raise


def _resampled(program: dspy.Module, task: dspy.BaseLM | None) -> dspy.Module:
    """Return a copy of a program whose every answer is drawn anew."""
    again = copied(program)
    for _, predictor in again.named_sub_modules(dspy.Predict):
        lm = predictor.lm or task
        predictor.lm = lm.copy(**fresh(lm, 1)) if lm is not None else None
    return again


def _second(reward: DynamicReward, judge: dspy.BaseLM, lms: RunLMs) -> DynamicReward:
    """Return a reward under which a second judge scores, counted as the first is, on the same criteria."""
    lm = metered(judge, role=Role.JUDGE, meter=lms.meter, record=lms.record, timeout=lms.timeout, patience=lms.patience)
    return reward.bound(judge_lm=lm, criteria_lm=lms.criteria or lm)


def _check_caps(given: Mapping[str, Any], planned: Mapping[Role, int], num_prompts: int) -> None:
    for cap in caps_of(dict(given)):
        needed = sum(count for role, count in planned.items() if cap.role in (None, role))
        if cap.kind is CapKind.LM_CALLS and needed > cap.limit:
            fits = int(num_prompts * cap.limit / needed)
            raise ConfigError(
                f"{cap}: a card of {num_prompts} prompts takes {needed} calls of these roles; raise it, or take about "
                f"{fits} prompts (--prompts {fits})"
            )

"""DRPO as a DSPy optimizer (Dynamic Rewarding with Prompt Optimization, EMNLP 2024; arXiv 2411.08733).

    compile:  check everything -> resolve the LMs -> one of two searches -> return

    default mode (`light`, `medium`, `heavy`)    `default_mode.py`: its loop is `minibatch.py`
    paper mode (`paper`)                         `paper_mode.py`: its loop is `beam.py`

Both get candidates from the prompt LM (`proposal.py`) and judge them by the student and the judge (`evaluation.py`).

Differences from the paper's code in both, besides those numbered in `metrics/reward.py` and in the two loops:

1. The student is any DSPy program. With several predictors each level rewrites one of them, in turn.
2. An instruction is proposed by one call per sample instead of one call for all, since most endpoints take `n=1` only;
   an unreadable sample is drawn anew once and costs only itself.
3. Criteria of queries that will certainly be reached are fetched ahead; all calls of a level run side by side.
   Neither changes which calls are made.
4. With a `valset`, seed and result are compared on it afterwards; the paper's code ends without a comparison. The
   default mode holds out a part of the training set if there is no `valset`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

import dspy
from dspy.teleprompt import Teleprompter

from ..errors import ConfigError
from ..programs.rewriter import InstructionRewriter
from ..serving.caps import CapKind, caps_of
from .candidates import base_of, candidate_of
from .default_mode import Choices, OnNoGain, default_mode
from .evaluation import Evaluator, Metric
from .held_out import split
from .minibatch_proposals import Credit
from .paper_mode import PAPER_DEMO_ITERS, paper_mode
from .presets import MinibatchSettings, PaperSettings, check_number, search_settings
from .proposal import Proposer, Writer, check_proposer
from .roles import resolve_lms
from .run import Run
from .run_config import run_config
from .selection import selection
from .session import Session, session
from .steps import Steps, paper_steps, planned_steps

E = TypeVar("E", bound=StrEnum)


class DRPOTeleprompter(Teleprompter):  # type: ignore[misc]  # DSPy has no type marker
    """Optimize a program's instructions and demonstrations from unlabelled examples, by search under a dynamic reward.

    Args:
        metric: None: a `DynamicReward`. Else one of yours, or any DSPy metric with values in [0, 1].
        task_lm: The LM that answers. None: `dspy.settings.lm`. A predictor with an LM of its own keeps it.
        judge_lm: The LM that scores. None: the metric's, else `dspy.settings.lm` with a warning.
        criteria_lm: The LM that chooses criteria. None: the metric's, else the judge.
        prompt_lm: The LM that rewrites. None: the judge.
        auto: The preset that fills what is None below: `"light"` (about 400 calls), `"medium"`, `"heavy"`, or
            `"paper"`, the official search (`presets.py` has the table). None: nothing is filled.
        beam_size: Candidates kept per level, at least 1; 1 is greedy search.
        n_actions: New instructions per candidate kept, at least 1.
        depth: Levels of rewriting, at least 1; in the paper's search the records of a path at which it ends.
        max_depth_increase: By how many levels easy queries may lengthen the paper's search, at least 0.
        minibatch_size: Queries per level, at least 1; the paper's search has 1.
        temperature: Sampling temperature of the rewriter, at least 0.
        k: Demonstrations retrieved per query, at least 0. None: as the student has it, and 3 for those of stage 1.
        optimize_demos: Whether stage 1 runs. Default mode (None: yes): the program's own best answers become
            demonstrations, the weaker ones are improved. Paper mode (None: no): the official hill climb over the
            student's own.
        proposer: `(instruction, feedback, history, n) -> list[str]` in the rewriter's place. None: the rewriter.
        max_lm_calls: Most requests to all LMs together, failed ones included, at least 1; or a mapping with caps by
            role (`task`, `judge`, `criteria`, `prompt`) and over all (`run`). Enough is kept back for the final
            selection, and a search that reaches a cap ends on its best. None: no cap.
        max_tokens: The same for tokens, read and written; calls under way may exceed it.
        max_cost: The same for dollars; it needs known prices.
        max_seconds: The same for seconds since `compile` began; for a role, the sum of its calls' durations.
        num_threads: Calls under way at once, at least 1. None: `dspy.settings.num_threads`.
        max_errors: Failures of the program after which the run ends. None: `dspy.settings.max_errors`.
        seed: Seed of the comparison's bootstrap; the paper's search itself draws nothing.
        log_dir: Where the run directory is written; one that holds an interrupted run is resumed. None: nowhere.
        track_stats: Whether the result carries `candidate_programs` and `drpo_result`.
        display_progress: Whether progress is shown. None: in a notebook, or if the standard error stream is a terminal.
        rules: The words that open the rewriter's prompt. None: ours, made for assistants.
        select: Which candidates go on in the default mode: `"beam"`, `"greedy"`, `"pareto"` or `"mc"`. None: beam.
        credit: Which predictors a level of the default mode rewrites: `"trace"`, `"round_robin"` or `"all"`.
        demo_iters: Rewrites per demonstration at most, at least 0. None: as `auto` says; the paper's code has 5.
        rewrite_given_demos: Whether demonstrations that the student has already, your labels, may be rewritten too.
        on_no_gain: What the default mode returns if the held-out queries show no significant gain: the `"seed"`, that
            is the student as it was, or the `"best"` candidate all the same.
        call_timeout: Seconds after which an LM call is given up; its judgement is missing then. None: no limit.
        outage_patience: Seconds without any answer of an LM, though it is asked again and again, after which the run
            ends with an `LMError`; its record is kept, so that it can be resumed. At least 0.
        run_config: Further settings that `config.json` shall show.

    Raises:
        ConfigError: If an argument is out of its range.

    Example:
        >>> optimizer = DRPOTeleprompter(judge_lm="openai/gpt-4o", num_threads=8, log_dir="runs/first")
        >>> optimizer.get_params()["auto"]
        'light'
    """

    def __init__(
        self,
        metric: Metric | None = None,
        *,
        task_lm: dspy.BaseLM | str | None = None,
        judge_lm: dspy.BaseLM | str | None = None,
        criteria_lm: dspy.BaseLM | str | None = None,
        prompt_lm: dspy.BaseLM | str | None = None,
        auto: Literal["light", "medium", "heavy", "paper"] | None = "light",
        beam_size: int | None = None,
        n_actions: int | None = None,
        depth: int | None = None,
        max_depth_increase: int | None = None,
        minibatch_size: int | None = None,
        temperature: float | None = None,
        k: int | None = None,
        optimize_demos: bool | None = None,
        proposer: Proposer | None = None,
        max_lm_calls: int | Mapping[str, int] | None = None,
        max_tokens: int | Mapping[str, int] | None = None,
        max_cost: float | Mapping[str, float] | None = None,
        max_seconds: float | Mapping[str, float] | None = None,
        num_threads: int | None = None,
        max_errors: int | None = None,
        seed: int = 0,
        log_dir: str | Path | None = None,
        track_stats: bool = True,
        display_progress: bool | None = None,
        rules: str | None = None,
        select: Literal["beam", "greedy", "pareto", "mc"] | None = None,
        credit: Literal["trace", "round_robin", "all"] = "trace",
        demo_iters: int | None = None,
        rewrite_given_demos: bool = False,
        on_no_gain: Literal["seed", "best"] = "seed",
        call_timeout: float | None = 600.0,
        outage_patience: float = 300.0,
        run_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if metric is not None and not callable(metric):
            raise ConfigError(f"metric={metric!r}: give a DSPy metric (a function), a DynamicReward, or None")
        check_proposer(proposer)
        for name, value, lowest in (
            ("k", k, 0), ("num_threads", num_threads, 1), ("max_errors", max_errors, 1), ("seed", seed, 0),
            ("demo_iters", demo_iters, 0),
        ):  # fmt: skip
            if value is not None:
                check_number(name, value, lowest)
        check_number("outage_patience", outage_patience, 0, whole=False)
        number = isinstance(call_timeout, (int, float)) and not isinstance(call_timeout, bool)
        if call_timeout is not None and not (number and call_timeout > 0):
            raise ConfigError(f"call_timeout={call_timeout!r}: give seconds, more than 0, or None for no limit")
        self.metric = metric
        self.task_lm, self.judge_lm, self.criteria_lm, self.prompt_lm = task_lm, judge_lm, criteria_lm, prompt_lm
        self.auto = auto
        self.beam_size, self.n_actions = beam_size, n_actions
        self.depth, self.max_depth_increase = depth, max_depth_increase
        self.minibatch_size, self.temperature = minibatch_size, temperature
        self.k, self.optimize_demos, self.proposer = k, optimize_demos, proposer
        self.max_lm_calls, self.max_tokens = max_lm_calls, max_tokens
        self.max_cost, self.max_seconds = max_cost, max_seconds
        self.num_threads, self.max_errors, self.seed = num_threads, max_errors, seed
        self.log_dir, self.track_stats, self.display_progress = log_dir, track_stats, display_progress
        self.rules, self.run_config = rules, run_config
        self.select, self.credit, self.on_no_gain = select, credit, on_no_gain
        self.demo_iters, self.rewrite_given_demos, self.call_timeout = demo_iters, rewrite_given_demos, call_timeout
        self.outage_patience = outage_patience
        caps_of(self.caps)
        self._search_settings()
        self._choices()

    def get_params(self) -> dict[str, Any]:
        """Return a copy of the constructor's arguments."""
        return dict(self.__dict__)

    @property
    def caps(self) -> dict[str, Any]:
        """The arguments that bound what a run may use, by name."""
        return {kind.value: getattr(self, kind) for kind in CapKind}

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        teacher: dspy.Module | list[dspy.Module] | None = None,
        valset: Sequence[dspy.Example] | None = None,
        seed: int | None = None,
    ) -> dspy.Module:
        """Return a new program of the student's class under the best instructions found.

        Args:
            student: Any DSPy program with at least one predictor; it is left as it is.
            trainset: Unlabelled examples (`dspy.Example(...).with_inputs(...)`), used in the order given.
            teacher: Not used; taken because other optimizers pass it on.
            valset: Held-out examples on which seed and result are compared at the end. None: no comparison.
            seed: In place of the constructor's.

        Raises:
            ConfigError: If something is wrong; nothing has been paid for then.
            LMError: If an LM cannot be reached. The run can be resumed through its `log_dir`.
            RunDirectoryError: If `log_dir` is in use, damaged, of another run, or cannot be written.
            KeyboardInterrupt: After Ctrl-C: the first lets the calls under way end, the second does not. The run can be
                resumed likewise.
            ProgramFailureError: If the program failed `max_errors` times.
            JudgeError: If most judgements cannot be read.
        """
        check_examples(trainset, name="trainset")
        check_examples(valset or (), name="valset", empty=True)
        search, seed = self._search_settings(), self.seed if seed is None else seed
        base, lms = base_of(student, k=self.k), resolve_lms(self, student)
        candidate_of(base)  # a student without predictors is refused here, before anything is written
        config = None
        if self.log_dir is not None:
            config = run_config(
                optimizer=self._described(search), base=base, lms=lms, trainset=trainset, valset=valset or (),
                seed=seed, settings=self.run_config, caps=self.caps,
            )  # fmt: skip
        with session(
            lms, log_dir=self.log_dir, config=config, num_threads=self.num_threads, timeout=self.call_timeout,
            patience=self.outage_patience, display_progress=self.display_progress,
        ) as opened:  # fmt: skip
            run = self._run(opened, base, search, trainset=trainset, valset=valset or (), seed=seed)
            opened.progress.follow(*self._plan(search, trainset, valset or (), predictors=len(run.root)))
            if isinstance(search, PaperSettings):
                outcome = paper_mode(run, search, demo_iters=self._paper_demo_iters())
            else:
                outcome = default_mode(run, search, self._choices())
            program, result = run.finish(outcome)
        if self.track_stats:
            program.candidate_programs, program.drpo_result = outcome.candidates, result
        program._compiled = True
        return program

    def _run(
        self,
        opened: Session,
        base: dspy.Module,
        search: PaperSettings | MinibatchSettings,
        *,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example],
        seed: int,
    ) -> Run:
        lms = opened.lms
        return Run(
            base, lms=lms, pool=opened.pool, trainset=trainset, valset=valset, directory=opened.directory,
            evaluator=Evaluator(
                lms.metric, max_errors=self.max_errors or dspy.settings.max_errors, metric_lm=lms.judge
            ),
            writer=Writer(
                opened.pool, lm=lms.prompt, rewriter=InstructionRewriter(rules=self.rules),
                temperature=search.temperature, proposer=self.proposer,
            ),
            progress=opened.progress, seed=seed,
        )  # fmt: skip

    def _plan(
        self,
        search: PaperSettings | MinibatchSettings,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example],
        *,
        predictors: int,
    ) -> tuple[Steps, int]:
        """Return about how many calls the steps of the run make, and the number of the last level."""
        if isinstance(search, PaperSettings):
            steps = paper_steps(search, num_val=len(valset), predictors=predictors)
            return steps, min(search.depth, len(trainset)) - 1
        queries, held = trainset, valset
        if not valset:
            queries, held = split(trainset, num_val=search.num_val, num_search=search.first_size)
        steps = planned_steps(
            search, num_train=len(queries), num_val=min(len(held), search.num_val), predictors=predictors,
            optimize_demos=self._choices().optimize_demos,
        )  # fmt: skip
        return steps, search.depth

    def _search_settings(self) -> PaperSettings | MinibatchSettings:
        names = ("beam_size", "n_actions", "depth", "max_depth_increase", "minibatch_size", "temperature")
        given = {name: getattr(self, name) for name in names}
        settings = search_settings(self.auto, given)
        if isinstance(settings, PaperSettings):
            return settings
        return search_settings(self.auto, {**given, "k": self.k, "demo_iters": self.demo_iters})

    def _paper_demo_iters(self) -> int:
        """Return how many rewrites stage 1 of the paper's code makes per demonstration; 0: it does not run."""
        return (PAPER_DEMO_ITERS if self.demo_iters is None else self.demo_iters) if self.optimize_demos else 0

    def _choices(self) -> Choices:
        return Choices(
            select=selection(self.select),
            credit=_member(Credit, "credit", self.credit),
            on_no_gain=_member(OnNoGain, "on_no_gain", self.on_no_gain),
            optimize_demos=self.optimize_demos is not False,
            rewrite_given_demos=self.rewrite_given_demos,
        )

    def _described(self, search: PaperSettings | MinibatchSettings) -> dict[str, Any]:
        """Return the settings that a run's outcome depends on."""
        names = ("auto", "k", "max_errors", "rules", "select", "credit", "on_no_gain", "optimize_demos",
                 "demo_iters", "rewrite_given_demos", "call_timeout")  # fmt: skip
        return {
            "class": type(self).__name__,
            **{name: getattr(self, name) for name in names},
            **vars(search),
            "proposer": getattr(self.proposer, "__name__", None),
        }


def _member(kind: type[E], name: str, value: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{name}={value!r}: choose one of {', '.join(map(repr, map(str, kind)))}") from None


def check_examples(examples: Sequence[dspy.Example], *, name: str, empty: bool = False) -> None:
    """Refuse what is no list of examples with their inputs named.

    Args:
        examples: What was given.
        name: The argument's name, for the error.
        empty: Whether there may be none.

    Raises:
        ConfigError: It says which one.
    """
    if not isinstance(examples, Sequence):
        raise ConfigError(f"{name}={examples!r}: give a list of dspy.Example(...).with_inputs(...)")
    if not examples and not empty:
        raise ConfigError(f"{name}={examples!r}: give at least one dspy.Example(...).with_inputs(...)")
    for index, example in enumerate(examples):
        if not isinstance(example, dspy.Example) or not (example._input_keys and len(example.inputs())):
            raise ConfigError(
                f"{name}[{index}]={str(example)[:80]!r}: give a dspy.Example and name its inputs by with_inputs(...)"
            )

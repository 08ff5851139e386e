"""DRPO as a DSPy optimizer (Dynamic Rewarding with Prompt Optimization, EMNLP 2024; arXiv 2411.08733).

    compile:  check everything -> resolve the LMs -> search the instructions -> compare on held-out queries -> return

The search itself is `beam.py`. This module gives it its three callables: proposals come from the prompt LM
(`proposal.py`), evaluations from the student and the judge (`evaluation.py`), and the selection is the paper's.

Differences from the paper's code, besides those numbered in `beam.py` and `metrics/reward.py`:

1. The student is any DSPy program. With several predictors each level rewrites one of them, in turn.
2. An instruction is proposed by one call per sample instead of one call for all, since most endpoints take `n=1` only;
   an unreadable sample is drawn anew once and costs only itself.
3. Criteria of queries that will certainly be reached are fetched ahead; all calls of a level run side by side.
   Neither changes which calls are made.
4. With a `valset`, seed and result are compared on it afterwards; the paper's code ends without a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import dspy
from dspy.teleprompt import Teleprompter

from ..errors import ConfigError
from ..programs.rewriter import InstructionRewriter
from .candidates import base_of, candidate_of
from .evaluation import Evaluator, Metric
from .pool import TaskPool
from .presets import SearchSettings, check_number, search_settings
from .progress import Progress
from .proposal import Proposals, Proposer, check_proposer
from .roles import resolve_lms
from .run import Run
from .run_config import run_config
from .run_directory import RunDirectory

CAPS = ("max_lm_calls", "max_tokens", "max_cost")
"""The arguments that bound what a run may use."""


class DRPOTeleprompter(Teleprompter):  # type: ignore[misc]  # DSPy has no type marker
    """Optimize the instructions of a program from unlabelled examples, by beam search under a dynamic reward.

    Args:
        metric: None: a `DynamicReward`. Else one of yours, or any DSPy metric with values in [0, 1].
        task_lm: The LM that answers. None: `dspy.settings.lm`. A predictor with an LM of its own keeps it.
        judge_lm: The LM that scores. None: the metric's, else `dspy.settings.lm` with a warning.
        criteria_lm: The LM that chooses criteria. None: the metric's, else the judge.
        prompt_lm: The LM that rewrites. None: the judge.
        auto: The preset that fills what is None below: `"paper"` is the official search. None: nothing is filled.
        beam_size: Nodes kept per level, at least 1; 1 is greedy search.
        n_actions: New instructions per node, at least 1.
        depth: Records of a path at which the search ends, at least 1; each level uses the next example.
        max_depth_increase: By how many levels easy queries may lengthen it, at least 0.
        minibatch_size: Queries per level; the paper's search has 1.
        temperature: Sampling temperature of the rewriter, at least 0.
        k: Demonstrations retrieved per query from each predictor's own, at least 0. None: as the student has it.
        optimize_demos: Whether the demonstrations are improved first. The paper's search runs without.
        proposer: `(instruction, feedback, history, n) -> list[str]` in the rewriter's place. None: the rewriter.
        max_lm_calls: Most requests to all LMs together; the search ends on its best then. None: no cap.
        max_tokens: No request is sent once so many tokens are used. None: no cap.
        max_cost: No request is sent once so many dollars are spent. None: no cap.
        num_threads: Calls under way at once, at least 1. None: `dspy.settings.num_threads`.
        max_errors: Failures of the program after which the run ends. None: `dspy.settings.max_errors`.
        seed: Seed of the comparison's bootstrap; the paper's search itself draws nothing.
        log_dir: Where the run directory is written; one that holds an interrupted run is resumed. None: nowhere.
        track_stats: Whether the result carries `candidate_programs` and `drpo_result`.
        display_progress: Whether progress is printed. None: if the standard error stream is a terminal.
        rules: The words that open the rewriter's prompt. None: ours, made for assistants.
        run_config: Further settings that `config.json` shall show.

    Raises:
        ConfigError: If an argument is out of its range.

    Example:
        >>> optimizer = DRPOTeleprompter(judge_lm="openai/gpt-4o", num_threads=8, log_dir="runs/first")
        >>> optimizer.get_params()["auto"]
        'paper'
    """

    def __init__(
        self,
        metric: Metric | None = None,
        *,
        task_lm: dspy.BaseLM | str | None = None,
        judge_lm: dspy.BaseLM | str | None = None,
        criteria_lm: dspy.BaseLM | str | None = None,
        prompt_lm: dspy.BaseLM | str | None = None,
        auto: Literal["paper"] | None = "paper",
        beam_size: int | None = None,
        n_actions: int | None = None,
        depth: int | None = None,
        max_depth_increase: int | None = None,
        minibatch_size: int | None = None,
        temperature: float | None = None,
        k: int | None = None,
        optimize_demos: bool | None = None,
        proposer: Proposer | None = None,
        max_lm_calls: int | None = None,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        num_threads: int | None = None,
        max_errors: int | None = None,
        seed: int = 0,
        log_dir: str | Path | None = None,
        track_stats: bool = True,
        display_progress: bool | None = None,
        rules: str | None = None,
        run_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if metric is not None and not callable(metric):
            raise ConfigError(f"metric={metric!r}: give a DSPy metric (a function), a DynamicReward, or None")
        check_proposer(proposer)
        if minibatch_size not in (None, 1):
            raise NotImplementedError(
                f"minibatch_size={minibatch_size!r}: the paper's search judges on one query per level; leave it None"
            )
        if optimize_demos:
            raise NotImplementedError("optimize_demos=True: this stage is not built yet; leave it None")
        for name, value, lowest in (
            ("k", k, 0), ("max_lm_calls", max_lm_calls, 1), ("max_tokens", max_tokens, 1), ("max_cost", max_cost, 0),
            ("num_threads", num_threads, 1), ("max_errors", max_errors, 1), ("seed", seed, 0),
        ):  # fmt: skip
            if value is not None:
                check_number(name, value, lowest, whole=name != "max_cost")
        self.metric = metric
        self.task_lm, self.judge_lm, self.criteria_lm, self.prompt_lm = task_lm, judge_lm, criteria_lm, prompt_lm
        self.auto = auto
        self.beam_size, self.n_actions = beam_size, n_actions
        self.depth, self.max_depth_increase = depth, max_depth_increase
        self.minibatch_size, self.temperature = minibatch_size, temperature
        self.k, self.optimize_demos, self.proposer = k, optimize_demos, proposer
        self.max_lm_calls, self.max_tokens, self.max_cost = max_lm_calls, max_tokens, max_cost
        self.num_threads, self.max_errors, self.seed = num_threads, max_errors, seed
        self.log_dir, self.track_stats, self.display_progress = log_dir, track_stats, display_progress
        self.rules, self.run_config = rules, run_config
        self._search_settings()

    def get_params(self) -> dict[str, Any]:
        """Return a copy of the constructor's arguments."""
        return dict(self.__dict__)

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
            ProgramFailureError: If the program failed `max_errors` times.
            JudgeError: If most judgements cannot be read.
        """
        _check_examples(trainset, name="trainset")
        _check_examples(valset or (), name="valset", empty=True)
        search, seed = self._search_settings(), self.seed if seed is None else seed
        base, lms = base_of(student, k=self.k), resolve_lms(self, student)
        candidate_of(base)  # a student without predictors is refused here, before anything is written
        with ExitStack() as stack:
            directory = None
            if self.log_dir is not None:
                config = run_config(
                    optimizer=self._described(search), base=base, lms=lms, trainset=trainset, valset=valset or (),
                    seed=seed, settings=self.run_config, caps={name: getattr(self, name) for name in CAPS},
                )  # fmt: skip
                directory = stack.enter_context(RunDirectory(self.log_dir, config=config))
            lms = lms.metered(directory.calls if directory else None)
            pool = stack.enter_context(TaskPool(self.num_threads or dspy.settings.num_threads, meter=lms.meter))
            stack.enter_context(dspy.context(lm=lms.task, trace=[]))
            max_errors = self.max_errors or dspy.settings.max_errors
            run = Run(
                base, lms=lms, pool=pool, trainset=trainset, valset=valset or (), directory=directory,
                evaluator=Evaluator(lms.metric, max_errors=max_errors, metric_lm=lms.judge),
                proposals=Proposals(
                    pool, n_actions=search.n_actions, lm=lms.prompt, rewriter=InstructionRewriter(rules=self.rules),
                    temperature=search.temperature, proposer=self.proposer,
                ),
                progress=Progress(self.display_progress),
            )  # fmt: skip
            run.search(search)
            program, result = run.finish(run.compare(seed=seed), seed=seed)
        if self.track_stats:
            program.candidate_programs, program.drpo_result = run.candidate_programs(), result
        program._compiled = True
        return program

    def _search_settings(self) -> SearchSettings:
        names = ("beam_size", "n_actions", "depth", "max_depth_increase", "temperature")
        return search_settings(self.auto, {name: getattr(self, name) for name in names})

    def _described(self, search: SearchSettings) -> dict[str, Any]:
        """Return the settings that a run's outcome depends on."""
        names = ("auto", "k", "max_errors", "rules")
        return {
            "class": type(self).__name__,
            **{name: getattr(self, name) for name in names},
            **vars(search),
            "proposer": getattr(self.proposer, "__name__", None),
        }


def _check_examples(examples: Sequence[dspy.Example], *, name: str, empty: bool = False) -> None:
    if not isinstance(examples, Sequence):
        raise ConfigError(f"{name}={examples!r}: give a list of dspy.Example(...).with_inputs(...)")
    if not examples and not empty:
        raise ConfigError(f"{name}={examples!r}: give at least one dspy.Example(...).with_inputs(...)")
    for index, example in enumerate(examples):
        if not isinstance(example, dspy.Example) or not (example._input_keys and len(example.inputs())):
            raise ConfigError(
                f"{name}[{index}]={str(example)[:80]!r}: give a dspy.Example and name its inputs by with_inputs(...)"
            )

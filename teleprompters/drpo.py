"""DRPO as a DSPy optimizer (Dynamic Rewarding with Prompt Optimization, EMNLP 2024; arXiv 2411.08733).

    compile:  check everything -> resolve the LMs -> search the instructions -> compare on held-out queries -> return

The search itself is `beam.py`. This module gives it its three callables: proposals come from the prompt LM
(`proposal.py`), evaluations from the student and the judge (`evaluation.py`), and the selection is the paper's.

Differences from the paper's code, besides those numbered in `beam.py` and `metrics/reward.py`:

1. The student is any DSPy program. With several predictors each level rewrites one of them, in turn.
2. An instruction is proposed by one call per sample instead of one call for all, because most endpoints take `n=1` only;
   an unreadable sample is drawn anew once and costs only itself.
3. Criteria of queries that will certainly be reached are fetched ahead; all calls of a level run side by side.
   Neither changes which calls are made.
4. With a `valset`, seed and result are compared on it afterwards; the paper's code ends without a comparison.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import dspy
from dspy.teleprompt import Teleprompter

from ..errors import BudgetExceededError, ConfigError, JudgeError
from ..metrics.judgement import to_unit
from ..metrics.ledger import Entry, Source
from ..metrics.reward import DynamicReward, query_of
from ..metrics.statistics import mean_reward, paired_difference
from ..programs.rewriter import InstructionRewriter
from .beam import Evaluation, Level, Node, beam_search
from .candidates import Candidate, base_of, candidate_of, instruct
from .evaluation import EASY, Evaluator, Metric
from .pool import TaskPool
from .presets import check_number, search_settings
from .progress import Progress
from .proposal import Proposals, Proposer, check_proposer
from .result import Comparison, result_data, versions
from .roles import RunLMs, resolve_lms
from .run_directory import RunDirectory, saved_state
from .trace import trace_data, trace_markdown


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
        for name, value, lowest in (("k", k, 0), ("max_lm_calls", max_lm_calls, 1), ("max_tokens", max_tokens, 1),
                                    ("num_threads", num_threads, 1), ("max_errors", max_errors, 1), ("seed", seed, 0)):  # fmt: skip
            if value is not None:
                check_number(name, value, lowest)
        if max_cost is not None:
            check_number("max_cost", max_cost, 0, whole=False)
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
        base = base_of(student, k=self.k)
        root = candidate_of(base)
        progress = Progress(self.display_progress)
        with ExitStack() as stack:
            lms = resolve_lms(self, student)
            directory = None
            if self.log_dir is not None:
                config = self._config(base, root, lms, trainset, valset or (), seed)
                directory = stack.enter_context(RunDirectory(self.log_dir, config=config))
            lms = lms.metered(directory.calls if directory else None)
            num_threads = self.num_threads or dspy.settings.num_threads
            pool = stack.enter_context(TaskPool(num_threads, meter=lms.meter))
            stack.enter_context(dspy.context(lm=lms.task, trace=[]))
            evaluator = Evaluator(
                lms.reward or self.metric, max_errors=self.max_errors or dspy.settings.max_errors, metric_lm=lms.judge
            )
            run = _Run(
                lms.working(base), trainset, pool=pool, evaluator=evaluator, reward=lms.reward, certain=search.depth
            )
            proposals = Proposals(
                pool, n_actions=search.n_actions, lm=lms.prompt, rewriter=InstructionRewriter(rules=self.rules),
                temperature=search.temperature, proposer=self.proposer,
            )  # fmt: skip
            levels: list[Level[Candidate]] = []
            try:
                for level in beam_search(
                    root, num_queries=len(trainset), propose=proposals, evaluate=run.evaluate,
                    beam_size=search.beam_size, depth=search.depth, max_depth_increase=search.max_depth_increase,
                ):  # fmt: skip
                    levels.append(level)
                    run.certain = level.depth
                    progress.level(level, lms.meter)
                    _save_trace(directory, levels)
                evaluator.check()
                proposals.check()
                comparison = run.compare(root, levels[-1].best.candidate, valset, seed=seed) if valset else None
            except BudgetExceededError as error:
                if not levels:
                    raise
                evaluator.check()
                progress.say(f"stopped: {error}; the best program so far is returned")
                comparison = None
            best = levels[-1].best
            program = instruct(base, best.candidate)
            result = result_data(
                candidate=best.candidate, search_value=best.value, comparison=comparison, meter=lms.meter, models=lms.models,
                num_train=len(trainset), num_val=len(valset or ()), missing_judgements=evaluator.missing_judgements,
                program_errors=evaluator.program_errors, unusable_proposals=proposals.unusable,
                stopped=lms.meter.stopped, seed=seed,
            )  # fmt: skip
            if directory is not None:
                directory.replace("program.json", program.save)
                if lms.reward is not None:
                    directory.replace("ledger.json", lms.reward.ledger.save)
                directory.write_json("result.json", result)
        if self.track_stats:
            program.candidate_programs = _candidate_programs(base, levels)
            program.drpo_result = result
        program._compiled = True
        return program

    def _search_settings(self) -> Any:
        names = ("beam_size", "n_actions", "depth", "max_depth_increase", "temperature")
        return search_settings(self.auto, {name: getattr(self, name) for name in names})

    def _config(
        self,
        base: dspy.Module,
        root: Candidate,
        lms: RunLMs,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example],
        seed: int,
    ) -> dict[str, Any]:
        """Return what `config.json` says: all that the run's outcome depends on, and no key or endpoint."""
        reward = lms.reward
        return {
            "optimizer": {
                "class": type(self).__name__, "auto": self.auto, **vars(self._search_settings()), "k": self.k,
                "max_lm_calls": self.max_lm_calls, "max_tokens": self.max_tokens, "max_cost": self.max_cost,
                "max_errors": self.max_errors, "rules": self.rules, "proposer": getattr(self.proposer, "__name__", None),
            },
            "lms": lms.described,
            "reward": None if reward is None else {
                "criteria": [criterion.name for criterion in reward.library], "dynamic": reward.dynamic,
                "min_criteria": reward.min_criteria, "max_criteria": reward.max_criteria,
            },
            "student": {"class": type(base).__name__, "instructions": dict(root), "state": _digest(saved_state(base))},
            "data": {
                "num_train": len(trainset), "train": _digest([query_of(example) for example in trainset]),
                "num_val": len(valset), "val": _digest([query_of(example) for example in valset]),
            },
            "seed": seed,
            "settings": self.run_config,
            "versions": versions(),
        }  # fmt: skip


class _Run:
    """What a search evaluates with: the program, its queries, and the criteria fetched ahead."""

    def __init__(
        self,
        program: dspy.Module,
        trainset: Sequence[dspy.Example],
        *,
        pool: TaskPool,
        evaluator: Evaluator,
        reward: DynamicReward | None,
        certain: int,
    ) -> None:
        self._program, self._trainset = program, trainset
        self._pool, self._evaluator, self._reward = pool, evaluator, reward
        self._fetched = 0
        self.certain = certain
        """How many queries the search reaches in any case."""

    def evaluate(self, candidates: Sequence[Candidate], number: int) -> list[Evaluation]:
        """Judge the candidates of a level on one query, and fetch criteria ahead meanwhile."""
        example = self._trainset[number]
        certain = min(self.certain, len(self._trainset)) if self._reward else 0
        ahead = self._trainset[self._fetched : certain]
        self._fetched = max(self._fetched, certain)
        tasks: list[Any] = [(instruct(self._program, candidate), example) for candidate in candidates]
        done = self._pool.map(f"level {number} judge", self._judge_or_fetch, [*tasks, *ahead])
        _check_criteria(done[len(candidates) :])
        return [
            Evaluation(judged.reward, easy=judged.reward is not None and judged.reward > EASY, detail=judged)
            for judged in done[: len(candidates)]
        ]

    def compare(self, root: Candidate, best: Candidate, valset: Sequence[dspy.Example], *, seed: int) -> Comparison:
        """Return the comparison of two candidates on held-out queries; equal ones are judged once."""
        candidates = [root] if best == root else [root, best]
        programs = [instruct(self._program, candidate) for candidate in candidates]
        done = self._pool.map(
            "held-out judge", self._judge_or_fetch, [(program, example) for program in programs for example in valset]
        )
        rewards = [None if judged.reward is None else to_unit(judged.reward) for judged in done]
        first, second = rewards[: len(valset)], rewards[-len(valset) :]
        return Comparison(mean_reward(first), mean_reward(second), paired_difference(first, second, seed=seed))

    def _judge_or_fetch(self, task: Any) -> Any:
        if isinstance(task, dspy.Example):
            assert self._reward is not None
            return self._reward.criteria_of(task)
        program, example = task
        return self._evaluator(program, example)


def _check_criteria(fetched: Sequence[Entry]) -> None:
    """Raise if the criteria LM refused each of several queries: then it is no matter of the queries."""
    refused = [entry.analysis for entry in fetched if entry.source is Source.FALLBACK and entry.analysis]
    if len(fetched) > 1 and len(refused) == len(fetched):
        raise JudgeError(
            f"the criteria LM refused all {len(refused)} queries, the last with: {refused[-1]}; check criteria_lm"
        )


def _check_examples(examples: Sequence[dspy.Example], *, name: str, empty: bool = False) -> None:
    if not examples and not empty:
        raise ConfigError(f"{name}={examples!r}: give at least one dspy.Example(...).with_inputs(...)")
    for index, example in enumerate(examples):
        if not isinstance(example, dspy.Example) or not (example._input_keys and len(example.inputs())):
            raise ConfigError(
                f"{name}[{index}]={str(example)[:80]!r}: give a dspy.Example and name its inputs by with_inputs(...)"
            )


def _save_trace(directory: RunDirectory | None, levels: Sequence[Level[Candidate]]) -> None:
    if directory is not None:
        data = trace_data(levels)
        directory.write_json("trace.json", data)
        directory.write_text("trace.md", trace_markdown(data))


def _candidate_programs(base: dspy.Module, levels: Sequence[Level[Candidate]]) -> list[dict[str, Any]]:
    """Return the distinct candidates of the last beam, best first, as DSPy's optimizers do."""
    distinct: dict[Candidate, Node[Candidate]] = {}
    for node in levels[-1].beam:  # ties stay in the beam's order, so the first is the program that is returned
        distinct.setdefault(node.candidate, node)
    ranked = sorted(distinct.values(), key=lambda node: node.value, reverse=True)
    return [
        {
            "score": to_unit(node.value) if node.count else 0.0,
            "instructions": dict(node.candidate),
            "program": instruct(base, node.candidate),
        }
        for node in ranked
    ]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass")).hexdigest()

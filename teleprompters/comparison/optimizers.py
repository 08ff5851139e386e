"""DSPy's optimizers: each is DSPy's own class, with settings solved from the budget.

In the formulas an evaluation of one query is `e` calls (answer and judgement), `P` are the student's predictors. What
an optimizer tries again is free, and how often it does so nobody can tell beforehand. So settings allow a little more
than the budget pays for, and the cap ends the run: the best program that was fully evaluated by then counts. One that
ends with calls left (`foreign.py`) runs once more with another seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import dspy

from ..candidates import instruct
from .assignment import Assignment
from .remembering import CallsRanOutError
from .solving import Purse, drawn, nearest

DEMOS = 4
"""Most bootstrapped demonstrations of a program: DSPy's own default."""
GOOD = 0.75
"""Reward from which an answer may be a demonstration, as in DRPO's default mode: DSPy shows any answer without it."""
MORE = 5
"""How many times the trials that the budget pays for MIPROv2 may make: a combination that comes again is free."""
AGAIN = 1.1
"""How much more than the budget COPRO and InferRules may want: a prompt that comes again is free."""


class Optimizer(Protocol):
    """One of DSPy's optimizers."""

    name: str
    """How it is called."""
    anytime: bool
    """Whether it may be cut off, its best program so far then being its result. What it asks again is free then; an
    optimizer that must come to its end pays for that too, so that its settings can foresee what it takes."""
    objectives: bool
    """Whether it takes criteria as objectives."""
    judged_on: str | None
    """Which setting says on how many queries a full evaluation is; None if it makes none through `dspy.Evaluate`."""

    def solve(self, purse: Purse) -> dict[str, Any]:
        """Return its settings."""

    def run(
        self, assignment: Assignment, student: dspy.Module, settings: dict[str, Any], metric: Any, turn: int
    ) -> dspy.Module:
        """Run it to its end.

        Args:
            assignment: On what; its LMs are the entrant's own.
            student: The student's working copy.
            settings: What `solve` gave.
            metric: The reward.
            turn: 0; above, it has calls left and runs once more.
        """


class Copro:
    """`dspy.COPRO`: new instructions in view of the best so far, each judged on all queries.

    b d N e + (b - 1) + (d - 1) b    for one predictor; b P d (d + 1) / 2 evaluations for several
    """

    name, anytime, objectives = "copro", True, False
    judged_on: str | None = "num_queries"

    def solve(self, purse: Purse) -> dict[str, Any]:
        """Return breadth, depth and number of queries, near to three rounds of ten and to the whole budget."""
        number, options = purse.predictors, []
        wanted = purse.sample(0.6)
        for depth in (2, 3, 4):
            for breadth in range(3, 13):
                programs = breadth * depth if number == 1 else breadth * number * depth * (depth + 1) // 2
                prompts = number * (breadth - 1 + (depth - 1) * breadth)
                size = min(int(AGAIN * purse.budget - prompts) // (programs * purse.evaluation), purse.queries)
                if size >= 1:
                    rest = AGAIN - (prompts + programs * size * purse.evaluation) / purse.budget
                    far = abs(math.log(size / wanted)) + abs(math.log(depth / 3))
                    found = {"breadth": breadth, "depth": depth, "num_queries": size}
                    options.append((far + 50 * max(0.0, rest - 0.01), found))
        purse.need(self.name, 1 if options else purse.budget + 1)
        return nearest(options)

    def run(
        self, assignment: Assignment, student: dspy.Module, settings: dict[str, Any], metric: Any, turn: int
    ) -> dspy.Module:
        """Run it."""
        [queries] = drawn(assignment, settings["num_queries"])
        optimizer = dspy.COPRO(
            prompt_model=assignment.lms.prompt, metric=metric, breadth=settings["breadth"], depth=settings["depth"]
        )
        with dspy.context(
            num_threads=assignment.num_threads
        ):  # among `eval_kwargs` it could not be changed near the end
            return optimizer.compile(student, trainset=queries, eval_kwargs={"display_progress": False})


class Mipro:
    """`dspy.MIPROv2`: instructions from a summary of the data, demonstrations, and Bayesian search over both.

    min(T, demonstrations) e + 2 + ceil(T / 10) + 3 P n    to propose; V e (1 + trials) to search

    With `demos=0` instructions alone are searched (#9938: zero demonstrations must not crash, nor be three).
    """

    anytime, objectives = True, False
    judged_on: str | None = "num_val"

    def __init__(self, name: str, *, demos: int) -> None:
        self.name, self._demos = name, demos

    def solve(self, purse: Purse) -> dict[str, Any]:
        """Return the numbers of queries, candidates and trials; candidates as DSPy recommends for the trials."""
        val = purse.sample(1.0)
        train = max(2, min(2 * val, purse.queries - val, 3 * DEMOS + purse.budget // 100))
        evaluation = val * purse.evaluation
        fixed = evaluation + 3 + math.ceil(train / 10)
        options = []
        for number in range(3, 41):
            boots = min(train, (number - 1) * (DEMOS + 1) // 2) * purse.evaluation
            trials = (purse.budget - fixed - boots - 3 * purse.predictors * number) // evaluation
            # Zero-shot each instruction is one trial, and demonstrations serve to propose only.
            least = number if not self._demos else max(2 * 2 * purse.predictors * math.log2(number), 1.5 * number)
            if trials >= 1:
                options.append((abs(math.log(trials / least)), (number, trials)))
        purse.need(self.name, 1 if options else fixed + evaluation + train * purse.evaluation + 9 * purse.predictors)
        number, trials = nearest(options)
        return {"num_train": train, "num_val": val, "num_candidates": number, "num_trials": MORE * trials,
                "max_bootstrapped_demos": self._demos}  # fmt: skip

    def run(
        self, assignment: Assignment, student: dspy.Module, settings: dict[str, Any], metric: Any, turn: int
    ) -> dspy.Module:
        """Run it."""
        val, train = drawn(assignment, settings["num_val"], settings["num_train"])
        optimizer = dspy.MIPROv2(
            metric=metric, prompt_model=assignment.lms.prompt, task_model=assignment.lms.task, auto=None,
            num_candidates=settings["num_candidates"], max_bootstrapped_demos=settings["max_bootstrapped_demos"],
            max_labeled_demos=0, metric_threshold=GOOD, num_threads=assignment.num_threads, track_stats=False,
        )  # fmt: skip
        # `seed or self.seed` would make 9 of 0 (#10321).
        return optimizer.compile(
            student, trainset=train, valset=val, num_trials=settings["num_trials"], minibatch=False,
            seed=assignment.seed + 1 + 1000 * turn,
        )  # fmt: skip


class Gepa:
    """`dspy.GEPA`: rewrites from feedback, kept on a Pareto front over queries and criteria.

    V e, then per round 2 b e + 1 (parent and child on b queries, one rewrite), and V e more for a child that is better
    """

    name, anytime, objectives = "gepa", True, True
    judged_on: str | None = None

    def solve(self, purse: Purse) -> dict[str, Any]:
        """Return the number of validation queries; rounds go on until no further one can be paid."""
        val = purse.sample(0.7)
        minibatch = min(3, purse.queries - val)
        purse.need(self.name, (2 * val + 2 * minibatch) * purse.evaluation + 1)
        return {"num_train": purse.queries - val, "num_val": val, "reflection_minibatch_size": minibatch,
                "max_metric_calls": purse.budget, "frontier_type": "hybrid"}  # fmt: skip

    def run(
        self, assignment: Assignment, student: dspy.Module, settings: dict[str, Any], metric: Any, turn: int
    ) -> dspy.Module:
        """Run it; a candidate that was under evaluation when the calls ran out does not count."""
        val, train = drawn(assignment, settings["num_val"], settings["num_train"])
        best: dict[str, str] | None = None

        def stop(state: Any) -> bool:
            nonlocal best
            scores = state.program_full_scores_val_set
            best = dict(state.program_candidates[scores.index(max(scores))])
            return assignment.lms.meter.totals("calls") >= assignment.budget

        optimizer = dspy.GEPA(
            metric=metric, max_metric_calls=settings["max_metric_calls"],
            reflection_minibatch_size=settings["reflection_minibatch_size"], reflection_lm=assignment.lms.prompt,
            num_threads=assignment.num_threads, warn_on_score_mismatch=False, seed=assignment.seed,
            gepa_kwargs={"frontier_type": settings["frontier_type"], "stop_callbacks": [stop]},
        )  # fmt: skip
        try:
            return optimizer.compile(student, trainset=train, valset=val)
        except CallsRanOutError:
            if best is None:
                raise
            return instruct(student, tuple((name, best[name]) for name, _ in student.named_predictors()))


class Simba:
    """`dspy.SIMBA`: advice and demonstrations from answers that differ, then a choice on all queries.

    e (steps (2 c + 1) b + (min(steps, c) + 1) N) + steps (c + 1) / 2

    It samples and repeats itself in ways that nobody can foresee, and its last part must not be cut off: so it pays for
    every call, and its settings leave 3 % for judgements that are asked for twice.
    """

    name, anytime, objectives = "simba", False, False
    judged_on: str | None = None

    def solve(self, purse: Purse) -> dict[str, Any]:
        """Return minibatch, candidates, steps and queries: about a third of the calls for the last choice."""
        options = []
        for size in range(4, 33):
            for number in range(2, 7):
                for steps in range(1, 13):
                    new = min(number + 1, size)
                    searched = steps * (size * (number + new) * purse.evaluation + (new + 1) // 2)
                    last = (min(steps, number) + 1) * purse.evaluation
                    queries = min(purse.queries, int(0.97 * purse.budget - searched) // last)
                    if queries < size:
                        continue
                    rest = 0.97 - (searched + queries * last) / purse.budget
                    far = abs(math.log(size / max(4.0, purse.sample(0.4)))) + abs(math.log(steps / (number - 0.5)))
                    far += abs(math.log(queries * last / purse.budget / 0.35))
                    found = {"bsize": size, "num_candidates": number, "max_steps": steps, "num_queries": queries}
                    options.append((far + 50 * max(0.0, rest - 0.01), found))
        purse.need(self.name, 1 if options else 35 * purse.evaluation)
        return nearest(options)

    def run(
        self, assignment: Assignment, student: dspy.Module, settings: dict[str, Any], metric: Any, turn: int
    ) -> dspy.Module:
        """Run it."""
        [queries] = drawn(assignment, settings["num_queries"])
        optimizer = dspy.SIMBA(
            metric=metric, bsize=settings["bsize"], num_candidates=settings["num_candidates"],
            max_steps=settings["max_steps"], max_demos=DEMOS, prompt_model=assignment.lms.prompt,
            num_threads=assignment.num_threads,
        )  # fmt: skip
        return optimizer.compile(student, trainset=queries, seed=assignment.seed)


class BootstrapRS:
    """`dspy.BootstrapFewShotWithRandomSearch`: sets of the program's own answers, each judged on all queries.

    V e (2 + n) + T e at most; its sets are the same in every run, so another turn tries more of them
    """

    name, anytime, objectives = "bootstrap-rs", True, False
    judged_on: str | None = "num_val"

    def solve(self, purse: Purse) -> dict[str, Any]:
        """Return the numbers of queries and sets; the cap ends the last ones."""
        val = purse.sample(1.0)
        train = max(2, min(purse.queries - val, 3 * DEMOS + purse.budget // 100))
        number = purse.budget // (val * purse.evaluation) - 1
        purse.need(self.name, 3 * val * purse.evaluation)
        return {"num_train": train, "num_val": val, "num_candidate_programs": number, "max_bootstrapped_demos": DEMOS}

    def run(
        self, assignment: Assignment, student: dspy.Module, settings: dict[str, Any], metric: Any, turn: int
    ) -> dspy.Module:
        """Run it."""
        val, train = drawn(assignment, settings["num_val"], settings["num_train"])
        optimizer = dspy.BootstrapFewShotWithRandomSearch(
            metric=metric, max_bootstrapped_demos=DEMOS, max_labeled_demos=0, metric_threshold=GOOD,
            num_candidate_programs=settings["num_candidate_programs"] * (turn + 1), num_threads=assignment.num_threads,
        )  # fmt: skip
        return optimizer.compile(student, trainset=train, valset=val)


class InferRules:
    """`dspy.InferRules`: demonstrations, and rules inferred from the examples, several times over.

    DEMOS e + n (P + V e)
    """

    name, anytime, objectives = "infer-rules", True, False
    judged_on: str | None = "num_val"

    def solve(self, purse: Purse) -> dict[str, Any]:
        """Return the numbers of queries and candidates that fit best."""
        options = []
        wanted = purse.sample(1.0)
        for val in range(max(1, wanted * 2 // 3), max(2, min(purse.queries - 2, wanted * 3 // 2)) + 1):
            each = purse.predictors + val * purse.evaluation
            number = int(AGAIN * purse.budget - DEMOS * purse.evaluation) // each
            if number >= 1:
                rest = AGAIN * purse.budget - DEMOS * purse.evaluation - number * each
                options.append((abs(math.log(val / wanted)) + 20 * rest / purse.budget, (val, number)))
        purse.need(self.name, 1 if options else (DEMOS + wanted) * purse.evaluation + purse.predictors)
        val, number = nearest(options)
        train = min(purse.queries - val, 40)
        return {"num_train": train, "num_val": val, "num_candidates": number, "max_bootstrapped_demos": DEMOS}

    def run(
        self, assignment: Assignment, student: dspy.Module, settings: dict[str, Any], metric: Any, turn: int
    ) -> dspy.Module:
        """Run it; its rules are inferred by the prompt LM."""
        val, train = drawn(assignment, settings["num_val"], settings["num_train"])
        optimizer = dspy.InferRules(
            metric=metric, num_candidates=settings["num_candidates"], max_bootstrapped_demos=DEMOS,
            max_labeled_demos=0, metric_threshold=GOOD, num_threads=assignment.num_threads,
        )  # fmt: skip
        optimizer.rules_induction_program.teacher_settings = {"lm": assignment.lms.prompt}
        return optimizer.compile(student, trainset=train, valset=val)


OPTIMIZERS: Sequence[Optimizer] = (
    Mipro("miprov2", demos=DEMOS), Mipro("miprov2-0shot", demos=0), Copro(), Gepa(), Simba(), BootstrapRS(),
    InferRules(),
)  # fmt: skip

"""What programs are worth: every one on every test query, judged by the pinned criteria, in one flat pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dspy

from ...errors import JudgeError
from ...metrics.judgement import to_unit
from ..evaluation import Evaluator, Judged
from ..pool import TaskPool
from ..roles import RunLMs, digest


@dataclass(frozen=True)
class Marks:
    """What one program got."""

    rewards: tuple[float | None, ...]
    """Reward per test query, in [0, 1]; None where the judgement is missing."""
    missing_judgements: int
    """How many are missing."""
    program_errors: int
    """On how many queries the program failed, which is the lowest reward."""


def identity(program: dspy.Module) -> str:
    """Return a name of what a program says to its LM: two of the same name give the same answers."""
    states = {
        name: {key: value for key, value in parameter.dump_state().items() if key not in ("traces", "train", "lm")}
        for name, parameter in program.named_parameters()
    }
    return digest(states)


def judge_programs(
    programs: Mapping[str, dspy.Module], testset: Sequence[dspy.Example], *, lms: RunLMs, pool: TaskPool
) -> dict[str, Marks]:
    """Return what each program got.

    Args:
        programs: Identity to program; each is judged once, whoever made it.
        testset: The test queries, their criteria pinned.
        lms: The LMs, metered.
        pool: Where the calls are made.

    Raises:
        JudgeError: If no answer of any program could be judged.
        LMError: If an LM cannot be reached.
    """
    # A program that fails everywhere has earned the lowest reward; that ends nothing.
    evaluators = {name: Evaluator(lms.metric, max_errors=len(testset) + 1, metric_lm=lms.judge) for name in programs}
    started = {}
    for name, program in programs.items():
        working, evaluator = lms.working(program), evaluators[name]

        def judged(example: dspy.Example, working: dspy.Module = working, evaluator: Evaluator = evaluator) -> Judged:
            return evaluator(working, example)

        started[name] = [
            pool.start(f"test {name[:16]}/{query}", judged, example) for query, example in enumerate(testset)
        ]
    found = {name: pool.gather(tasks) for name, tasks in started.items()}
    if not any(one.reward is not None for judgements in found.values() for one in judgements):
        raise JudgeError(
            "no answer to any test query could be judged; check the judge LM, or set structured_output: true for it"
        )
    return {
        name: Marks(
            tuple(None if one.reward is None else to_unit(one.reward) for one in judgements),
            evaluators[name].missing_judgements,
            evaluators[name].program_errors,
        )
        for name, judgements in found.items()
    }

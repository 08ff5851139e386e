"""The official search's mock models (algorithm, section 13), played by scripted LMs through the real call path.

The task LM answers with the instruction it was given and the query, so that the judge can compute the mock's score.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable

import dspy

from drpo import DRPOTeleprompter, Responder
from drpo.serving.calls import current_sample
from drpo.serving.scripted import Prompt, scripted_lm

ASPECTS = ("Helpfulness", "Clarity", "Depth")

ScoreFn = Callable[[str, str, str], int]


def hash_score(salt: str) -> ScoreFn:
    def score(prompt: str, query: str, aspect: str) -> int:
        digest = hashlib.sha256(f"{salt}|{prompt}|{query}|{aspect}".encode()).hexdigest()
        return 2 + int(digest, 16) % 4

    return score


def queries(number: int) -> list[dspy.Example]:
    return [dspy.Example(query=f"q{index}").with_inputs("query") for index in range(number)]


class PaperMock:
    """Four scripted LMs and the count of what each was asked."""

    def __init__(self, score: ScoreFn) -> None:
        self.calls: Counter[str] = Counter()
        self._score = score
        self.task = scripted_lm(self._answer, name="task")
        self.judge = scripted_lm(self._grade, name="judge")
        self.criteria = scripted_lm(self._choose, name="criteria")
        self.prompt = scripted_lm(self._rewrite, name="prompt", temperature=0.2)

    def optimizer(self, **options: object) -> DRPOTeleprompter:
        lms = {"task_lm": self.task, "judge_lm": self.judge, "criteria_lm": self.criteria, "prompt_lm": self.prompt}
        return DRPOTeleprompter(**{"auto": "paper", **lms, **options})

    def compile(self, *, num_queries: int, student: dspy.Module | None = None, **options: object) -> dspy.Module:
        student = student or Responder(instructions="P0")
        return self.optimizer(**options).compile(student, trainset=queries(num_queries))

    def _answer(self, prompt: Prompt) -> str:
        self.calls["task"] += 1
        return f"{prompt.system} for {prompt.last}"

    def _grade(self, prompt: Prompt) -> str:
        self.calls["judge"] += 1
        instruction, query = re.search(r"(P0[.\d]*) for (q\d+)", prompt.last).groups()
        return json.dumps(
            {
                f"judgement_{number}": {
                    "rationale": "as the mock says",
                    "score": self._score(instruction, query, aspect),
                }
                for number, aspect in enumerate(ASPECTS, start=1)
            }
        )

    def _choose(self, prompt: Prompt) -> str:
        self.calls["criteria"] += 1
        return json.dumps(
            {"analysis": "none", "criteria": [{"name": aspect, "reason": "", "definition": ""} for aspect in ASPECTS]}
        )

    def _rewrite(self, prompt: Prompt) -> str:
        self.calls["prompt"] += 1
        current = prompt.last.partition("current_instruction")[2]
        instruction = re.search(r"^(P0[.\d]*)$", current, re.MULTILINE).group(1)
        return json.dumps({"analysis": "none", "new_instruction": f"{instruction}.{current_sample()}"})

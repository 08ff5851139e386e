"""Scripted LMs that answer the contract's programs under any adapter, and the runs that several tests look at.

An answer of the task LM is made of everything it was sent, and a score of everything it was answered: so two runs end
alike only if every prompt was alike, byte for byte.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
from contract_programs import ADAPTERS, SHAPES, Mixed, dressed, examples, examples_for, picture

from drpo import DRPOTeleprompter
from drpo.serving.calls import current_sample
from drpo.serving.scripted import Prompt, scripted_lm


class World:
    """Four scripted LMs, what each was asked, and an optimizer of small sizes over them.

    Args:
        spice: Changes every score, so that another search results.
        before: Called with the role and the prompt before each reply; may wait, or raise what a server would.
        scores: From an answer and the number of a criterion to its score. None: a digest decides.
        structured_output: Whether the LMs take JSON schemas, which cost the tests a quarter of their time.
        options: Of every `dspy.LM`.
    """

    def __init__(
        self,
        *,
        spice: str = "",
        before: Callable[[str, Prompt], None] | None = None,
        scores: Callable[[str, int], object] | None = None,
        structured_output: bool = False,
        **options: Any,
    ) -> None:
        options["structured_output"] = structured_output
        self.asked: dict[str, list[Prompt]] = {"task": [], "judge": [], "criteria": [], "prompt": []}
        self._spice, self._before = spice, before
        self._scores = scores or self._score
        self.task = scripted_lm(self._role("task", lambda prompt: self._answer(prompt)), name="world/task", **options)
        self.judge = scripted_lm(self._role("judge", lambda prompt: self._grade(prompt)), name="world/judge", **options)
        self.criteria = scripted_lm(
            self._role("criteria", lambda prompt: self._choose(prompt)), name="world/criteria", **options
        )
        self.prompt = scripted_lm(
            self._role("prompt", lambda prompt: self._rewrite(prompt)), name="world/prompt", **options
        )

    @property
    def calls(self) -> dict[str, int]:
        """Return how many requests each role's engine saw."""
        return {role: len(prompts) for role, prompts in self.asked.items()}

    @property
    def num_calls(self) -> int:
        """Return how many requests the engines saw."""
        return sum(self.calls.values())

    def optimizer(self, metric: Any = None, **options: Any) -> DRPOTeleprompter:
        """Return an optimizer of the paper's search, of small sizes."""
        sizes = {"auto": "paper", "beam_size": 2, "n_actions": 2, "depth": 2, "max_depth_increase": 1, "num_threads": 2}
        lms = {"task_lm": self.task, "judge_lm": self.judge, "criteria_lm": self.criteria, "prompt_lm": self.prompt}
        return DRPOTeleprompter(metric, **{**sizes, **lms, **options})

    def compile(self, student: dspy.Module, *, num_queries: int = 4, **options: Any) -> dspy.Module:
        """Return the compiled program."""
        return self.optimizer(**options).compile(student, trainset=examples_for(student, num_queries))

    def rendered(self, program: dspy.Module) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
        """Return every message that a program sends to answer two fixed examples."""
        before = len(self.asked["task"])
        with dspy.context(lm=self.task):
            for example in examples_for(program, 2):
                program(**example.inputs())
        return [(prompt.system, prompt.turns) for prompt in self.asked["task"][before:]]

    def _role(self, role: str, reply: Callable[[Prompt], str]) -> Callable[[Prompt], str]:
        def answer(prompt: Prompt) -> str:
            self.asked[role].append(prompt)
            if self._before is not None:
                self._before(role, prompt)
            return reply(prompt)

        return answer

    def _answer(self, prompt: Prompt) -> str:
        return reply_in_format(prompt, lambda name: f"{name} made of {_digest(prompt.text)}")

    def _score(self, answer: str, number: int) -> int:
        return 2 + int(_digest(f"{self._spice}|{answer}|{number}"), 16) % 4

    def _grade(self, prompt: Prompt) -> str:
        answer = _enclosed("answer", prompt.last)
        fields = asked_fields(prompt)
        return json.dumps(
            {
                name: {"rationale": "by digest", "score": self._scores(answer, number)}
                for number, name in enumerate(fields)
            }
        )

    def _choose(self, prompt: Prompt) -> str:
        names = ("Helpfulness", "Clarity", "Depth")[: 2 + len(prompt.last) % 2]
        return json.dumps({"analysis": "a question", "criteria": [{"name": name, "reason": "said"} for name in names]})

    def _rewrite(self, prompt: Prompt) -> str:
        if "`improved_answer`" in prompt.last:  # of a demonstration
            answer = _enclosed("answer", prompt.last.partition("current_answer")[2])
            return json.dumps({"analysis": "none", "improved_answer": f"Better than {answer}"})
        current = _enclosed("instruction", prompt.last.partition("current_instruction")[2])
        return json.dumps(
            {"analysis": "none", "new_instruction": f"{current}\n- Rule {current_sample()} with a < b & {{braces}}."}
        )


def asked_fields(prompt: Prompt) -> list[str]:
    """Return the output fields that a prompt of any of DSPy's adapters asks for."""
    request = prompt.last[prompt.last.rindex("Respond with") :]
    return [name for name in re.findall(r"`(?:\[\[ ## |<)?(\w+)(?: ## \]\]|>)?`", request) if name != "completed"]


def reply_in_format(prompt: Prompt, value: Callable[[str], str]) -> str:
    """Return a reply in the format that the prompt asks for; a prompt that asks for none gets plain prose."""
    if "Respond with" not in prompt.last:
        return value("response")
    values = {name: value(name) for name in asked_fields(prompt)}
    request = prompt.last[prompt.last.rindex("Respond with") :]
    if "[[ ## " in request:
        return "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in values.items()) + "\n\n[[ ## completed ## ]]"
    if "XML" in request:
        return "\n".join(f"<{name}>\n{text}\n</{name}>" for name, text in values.items())
    return json.dumps(values)


def settings_now() -> dict[str, object]:
    """Return every DSPy setting as it is here and now."""
    return dict(dspy.settings.copy())


@dataclass(frozen=True)
class Run:
    """A student that was compiled."""

    student: dspy.Module
    before: dict[str, Any]
    """The student's picture before."""
    program: dspy.Module
    world: World


def run_of(shape: str, adapter: dspy.Adapter) -> Run:
    """Return the run of a dressed student under an adapter; it is made once, for all tests that only look at it."""
    key = shape, type(adapter)
    if key not in _RUNS:
        world, student = World(), dressed(SHAPES[shape]())
        before = picture(student)
        _RUNS[key] = Run(student, before, world.compile(student, depth=3), world)
    return _RUNS[key]


_RUNS: dict[Any, Run] = {}


KILLS = (3, 20)
"""After how many calls on record the killed runs are killed."""


def killed_run(world: World, folder: Path, **options: Any) -> dspy.Module:
    """Compile what the killed runs compile, in a run directory."""
    return world.optimizer(log_dir=folder, depth=3, **options).compile(
        Mixed(), trainset=examples(4), valset=examples(6)[4:]
    )


def _kill_in_the_middle(folder: Path, adapter: str, calls: int) -> None:
    """Run in a process of its own, killed without warning once so many calls are on record."""
    child = os.fork()
    if child == 0:
        try:
            asked = itertools.count(1)
            # It cannot end by itself, however long the parent takes: later requests wait for the kill.
            wait = lambda *_: time.sleep(0.01 if next(asked) <= calls + 2 else 60)  # noqa: E731
            dspy.configure(adapter=ADAPTERS[adapter]())
            killed_run(World(before=wait, structured_output=True), folder)
        finally:
            os._exit(1)
    record = folder / "calls.jsonl"
    while not record.exists() or record.read_bytes().count(b"\n") < calls:
        assert os.waitpid(child, os.WNOHANG)[0] == 0, "the run ended before it could be killed"
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _enclosed(name: str, text: str) -> str:
    match = re.search(rf"<<{name} (\w+)>>\n(.*?)\n<</{name} \1>>", text, re.DOTALL)
    assert match, f"no {name} is enclosed in {text!r}"
    return match.group(2)


if __name__ == "__main__":
    for number in KILLS:
        _kill_in_the_middle(Path(sys.argv[1]) / str(number), sys.argv[2], number)


def requests_of(program: dspy.Module) -> dict[str, int]:
    """Return how many requests a compiled program says were sent, by role, failed ones included."""
    roles = program.drpo_result["bill"]["roles"]
    return {role: used["calls"] + used["errors"] for role, used in roles.items()}

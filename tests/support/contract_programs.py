"""Small student programs of every shape, and a world of scripted LMs that answer them under any adapter.

An answer of the task LM is made of everything it was sent, and a score of everything it was answered: so two runs end
alike only if every prompt was alike, byte for byte.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from drpo import DRPOTeleprompter, Responder
from drpo.serving.roles import current_sample
from drpo.serving.scripted import Prompt, scripted_lm

ADAPTERS: dict[str, Callable[[], dspy.Adapter]] = {
    "chat": dspy.ChatAdapter,
    "json": dspy.JSONAdapter,
    "xml": dspy.XMLAdapter,
}


class Mixed(dspy.Module):
    """A `ChainOfThought` and a `Predict`, the second fed by the first."""

    def __init__(self) -> None:
        super().__init__()
        self.think = dspy.ChainOfThought("question -> idea")
        self.answer = dspy.Predict("question, idea -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(question=question, idea=self.think(question=question).idea)


class Nested(dspy.Module):
    """A program in a program."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Mixed()
        self.polish = dspy.Predict("draft -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.polish(draft=self.inner(question=question).answer)


class Hops(dspy.Module):
    """Predictors in a list and in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.hops = [dspy.Predict("question -> note"), dspy.ChainOfThought("question, note -> remark")]
        self.d = {"k": dspy.Predict("remark -> answer")}

    def forward(self, question: str) -> dspy.Prediction:
        note = self.hops[0](question=question).note
        return self.d["k"](remark=self.hops[1](question=question, note=note).remark)


class Frozen(dspy.Module):
    """A sub-module that was compiled before stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = Mixed()
        self.fixed.answer.demos = [dspy.Example(question="Old?", idea="none", answer="Old.")]
        self.fixed._compiled = True
        self.answer = dspy.Predict("draft -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(draft=self.fixed(question=question).answer)


class Shared(dspy.Module):
    """One predictor under two names, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = dspy.Predict("question -> answer")
        self.again = self.first
        self.last = dspy.Predict("question, draft -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        draft = self.again(question=self.first(question=question).answer).answer
        return self.last(question=question, draft=draft)


class SeveralInputs(dspy.Module):
    """Three input fields, one of them typed, and a typed output beside the text."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict("context, question, tags: list[str] -> answer, tone")

    def forward(self, context: str, question: str, tags: list[str]) -> dspy.Prediction:
        return self.answer(context=context, question=question, tags=tags)


class Locked(dspy.Module):
    """Holds what cannot be copied, as a program with a search client does, beside predictors in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.client = threading.Lock()
        self.first = dspy.Predict("question -> answer")
        self.again = self.first
        self.steps = [LockedStep(), LockedStep()]

    def forward(self, question: str) -> dspy.Prediction:
        with self.client:
            draft = self.again(question=self.first(question=question).answer).answer
        for step in self.steps:
            draft = step(draft=draft).answer
        return dspy.Prediction(answer=draft)


class LockedStep(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.client = threading.Lock()
        self.answer = dspy.Predict("draft -> answer")

    def forward(self, draft: str) -> dspy.Prediction:
        with self.client:
            return self.answer(draft=draft)


class Swallowing(dspy.Module):
    """Hides every error behind an apology, as agents and chat programs do."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict("question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        try:
            return self.answer(question=question)
        except Exception:
            return dspy.Prediction(answer="Sorry.")


SHAPES: dict[str, Callable[[], dspy.Module]] = {
    "mixed": Mixed,
    "nested": Nested,
    "hops": Hops,
    "frozen": Frozen,
    "shared": Shared,
    "several_inputs": SeveralInputs,
    "bare_predict": lambda: dspy.Predict("question -> answer"),
    "bare_chain_of_thought": lambda: dspy.ChainOfThought("question -> answer"),
    "locked": Locked,
    "responder": lambda: Responder("question -> answer"),
}


def dressed(student: dspy.Module) -> dspy.Module:
    """Give every predictor of a student what an optimizer could lose: a demo, a config, an LM of its own."""
    for number, predictor in enumerate(student.predictors()):
        fields = predictor.signature.fields
        predictor.demos = [dspy.Example({name: f"{name} of demo {number}" for name in fields}, augmented=False)]
        predictor.config = {"max_tokens": 90 + number}
    return student


def examples(number: int, *, inputs: tuple[str, ...] = ("question",)) -> list[dspy.Example]:
    """Return unlabelled examples."""
    values: dict[str, Callable[[int], Any]] = {
        "question": lambda index: f"What is {index}?",
        "context": lambda index: f"{index} is a number & <b>small</b>.",
        "tags": lambda index: ["number", f"tag {index}"],
        "query": lambda index: f"What is {index}?",
    }
    return [
        dspy.Example({name: values[name](index) for name in inputs}).with_inputs(*inputs) for index in range(number)
    ]


def examples_for(student: dspy.Module, number: int = 4) -> list[dspy.Example]:
    """Return examples with the inputs that a student of `SHAPES` takes."""
    several = isinstance(student, SeveralInputs)
    return examples(number, inputs=("context", "question", "tags") if several else ("question",))


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


def all_modules(program: dspy.Module) -> dict[str, dspy.Module]:
    """Return the program and every module in it, frozen ones included; the candidates beside it are not in it."""
    return {
        name: module
        for name, module in program.named_sub_modules(dspy.Module)
        if not name.startswith("self.candidate_programs")
    }


def all_predictors(program: dspy.Module) -> dict[str, dspy.Predict]:
    """Return every predictor, those of frozen sub-modules included."""
    return {name: module for name, module in all_modules(program).items() if isinstance(module, dspy.Predict)}


def picture(program: dspy.Module) -> dict[str, Any]:
    """Return everything of a program that an optimizer could change, objects by identity and contents by value."""
    modules = all_modules(program)
    return {
        "attributes": {name: [(key, id(value)) for key, value in vars(m).items()] for name, m in modules.items()},
        "compiled": {name: module._compiled for name, module in modules.items()},
        "predictors": {
            name: {
                "signature": (predictor.signature, copy.deepcopy(predictor.signature.dump_state())),
                "instructions": predictor.signature.instructions,
                "demos": [(id(demo), copy.deepcopy(dict(demo))) for demo in predictor.demos],
                "lm": (predictor.lm, copy.deepcopy(predictor.lm.kwargs) if predictor.lm else None),
                "config": copy.deepcopy(predictor.config),
            }
            for name, predictor in all_predictors(program).items()
        },
    }


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
        """Return an optimizer of small sizes."""
        sizes = {"beam_size": 2, "n_actions": 2, "depth": 2, "max_depth_increase": 1, "num_threads": 2}
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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _enclosed(name: str, text: str) -> str:
    match = re.search(rf"<<{name} (\w+)>>\n(.*?)\n<</{name} \1>>", text, re.DOTALL)
    assert match, f"no {name} is enclosed in {text!r}"
    return match.group(2)


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
        dspy.configure(adapter=ADAPTERS[adapter]())
        killed_run(World(before=lambda *_: time.sleep(0.02), structured_output=True), folder)
        os._exit(1)  # not killed in time
    record = folder / "calls.jsonl"
    while not record.exists() or record.read_bytes().count(b"\n") < calls:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the run ended before it was killed"


if __name__ == "__main__":
    for name in ADAPTERS:
        for number in KILLS:
            _kill_in_the_middle(Path(sys.argv[1]) / f"{name}-{number}", name, number)

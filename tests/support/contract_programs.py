"""Small student programs of every shape for the optimizer contract, and what can be seen of a program."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import dspy

from drpo import Responder

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

"""What an export is made from: the request that a predictor's adapter makes, and what it was made of.

Nothing is rendered here. A query, or a placeholder in its place, goes through the program's own adapter, and the
request that would leave this machine is kept (`serving/request_body.py`). So an export cannot differ from what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from ...errors import ConfigError
from ...programs.responder import Responder, make_adapter
from ...programs.retrieval import RetrievingPredict
from ...programs.text import render_inputs
from ...serving.request_body import request_body
from ...serving.settings import LMSettings

UNKNOWN = LMSettings(model="openai/model")
"""The model of a program that nobody said a model for: a chat model, whose name is left out of the request."""


@dataclass(frozen=True)
class Retrieval:
    """Where a predictor's demonstrations come from."""

    k: int
    """How many are shown per query."""
    encoder: Mapping[str, Any]
    """What makes queries comparable: `kind`, and the model if there is one."""
    pool: Sequence[Mapping[str, Any]]
    """The demonstrations to choose from."""


class Bundle:
    """One predictor's prompt.

    Args:
        program: The program; it is left as it is.
        predictor: The predictor's name. None: the only one.
        settings: The model that is sent to. None: a chat model without a name.
        inputs: The inputs of one query. None: a placeholder stands for each input field.

    Raises:
        ConfigError: If there is no such predictor, or the inputs are not its own.

    Example:
        >>> bundle = Bundle(Responder(instructions="Answer briefly."))
        >>> bundle.request["messages"][-1]
        {'role': 'user', 'content': '{{query}}'}
    """

    def __init__(
        self,
        program: dspy.Module,
        *,
        predictor: str | None = None,
        settings: LMSettings | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        self.predictor, self._asked = _chosen(program, predictor)
        self.adapter = make_adapter(program.adapter) if isinstance(program, Responder) else _configured()
        """What makes a request of instruction, demonstrations and inputs."""
        self.settings = _settings_of(self._asked, settings)
        """The model that is sent to."""
        self.signature = self._asked.signature
        """The predictor's signature, which holds its instruction."""
        self.retrieval = _retrieval(self._asked)
        """Where its demonstrations come from; None if all that it has are shown."""
        if inputs is not None and set(inputs) != set(self.signature.input_fields):
            raise ConfigError(f"inputs={list(inputs)!r}: {self.predictor!r} has {list(self.signature.input_fields)!r}")
        self.inputs = None if inputs is None else dict(inputs)
        """The inputs of the query; None if placeholders stand for them."""
        self.shown = self._shown()
        """The demonstrations that are shown: the nearest to the query, or the first of the pool without one."""
        self.placeholders = {} if self.inputs else self._placeholders()
        """Input field -> what stands for it; empty if there is a query."""
        self.request = self.request_with(self.shown)
        """The body of the request, without `model` if it is not known."""

    @property
    def adapter_name(self) -> str:
        """The adapter's name in a config, or the class of one that has none there."""
        names = {"ProseAdapter": "prose", "ChatAdapter": "chat", "JSONAdapter": "json", "XMLAdapter": "xml"}
        return names.get(type(self.adapter).__name__, type(self.adapter).__name__)

    @property
    def instruction(self) -> str:
        """The predictor's instruction."""
        return str(self.signature.instructions)

    @property
    def content(self) -> str | list[dict[str, Any]]:
        """What the model reads: the messages of a chat model, the prompt of a base model."""
        content: str | list[dict[str, Any]] = self.request["prompt" if "prompt" in self.request else "messages"]
        return content

    @property
    def turns(self) -> list[tuple[str, str]]:
        """Role and text of each message.

        Raises:
            ConfigError: If one is not text.
        """
        if isinstance(self.content, str):
            return [("user", self.content)]
        for message in self.content:
            if not isinstance(message["content"], str):
                raise ConfigError(f"{self.predictor!r} sends more than text: only the formats openai and json hold it")
        return [(message["role"], message["content"]) for message in self.content]

    def request_with(self, demos: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the body of the request that shows these demonstrations."""
        inputs = self.placeholders if self.inputs is None else self.inputs

        def ask(lm: dspy.LM) -> None:
            # A placeholder is text, whatever the field's type.
            with dspy.context(adapter=self.adapter, callbacks=[], warn_on_type_mismatch=self.inputs is not None):
                self._asked(**inputs, lm=lm, demos=[dict(demo) for demo in demos])

        body = request_body(self.settings, ask)
        return body if self.settings.model != UNKNOWN.model else {key: body[key] for key in body if key != "model"}

    def _shown(self) -> list[dict[str, Any]]:
        if self.retrieval is None:
            return [dict(demo) for demo in self._asked.demos]
        if self.inputs is None:
            return [dict(demo) for demo in self.retrieval.pool[: self.retrieval.k]]
        return [dict(demo) for demo in self._asked.retrieve(**self.inputs)]

    def _placeholders(self) -> dict[str, str]:
        """Return a mark for each input field that stands nowhere else in the prompt."""
        pool = self.retrieval.pool if self.retrieval else self.shown
        texts = "\n".join([self.instruction, *(render_inputs(dict(demo)) for demo in pool)])
        marks: dict[str, str] = {}
        for name in self.signature.input_fields:
            mark = f"{{{{{name}}}}}"
            while mark in texts or mark in marks.values():
                mark = mark.replace("}}", "_}}")
            marks[name] = mark
        return marks


def _chosen(program: dspy.Module, name: str | None) -> tuple[str, dspy.Predict]:
    """Return the predictor that is meant, with its name."""
    predictors = dict(program.named_predictors())
    if name is None and len(predictors) == 1:
        name = next(iter(predictors))
    if name is None or name not in predictors:
        raise ConfigError(f"predictor={name!r}: this program has {', '.join(map(repr, predictors)) or 'none'}")
    return name, predictors[name]


def _configured() -> dspy.Adapter:
    return dspy.settings.adapter or dspy.ChatAdapter()


def _settings_of(predictor: dspy.Predict, given: LMSettings | None) -> LMSettings:
    """Return what is known of the model: that of the predictor's own LM first, as in a call."""
    own = predictor.lm
    if own is None:
        return given or UNKNOWN
    sampling = {name: own.kwargs.get(name) for name in ("temperature", "max_tokens", "top_p", "seed")}
    sampling["max_tokens"] = sampling["max_tokens"] or own.kwargs.get("max_completion_tokens")  # of reasoning models
    return LMSettings(model=own.model, model_type="text" if own.model_type == "text" else "chat", **sampling)


def _retrieval(predictor: dspy.Predict) -> Retrieval | None:
    if not isinstance(predictor, RetrievingPredict) or not predictor.pool:
        return None
    return Retrieval(k=predictor.k, encoder=predictor.index.encoder.spec(), pool=predictor.pool)

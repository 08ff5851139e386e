"""How the judge-side modules ask an LM, and how they read its reply: strictly, else by the adapter, else kindly."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache, partial
from typing import Annotated, Any

import dspy
import json_repair
from dspy.adapters.utils import parse_value
from dspy.utils.exceptions import AdapterParseError
from pydantic import BeforeValidator, Field

from .replies import own_values

FRESH_TEMPERATURE = 0.7
"""Sampling temperature of a second try, where the first was (nearly) deterministic."""
READ_AT_MOST = 16_000
"""Characters of a reply that are read; a longer one is a model's that ran away, and parsers take minutes over it."""
DEEPEST = 50
"""Brackets within brackets in a reply that is read; deeper ones are a model's that repeats itself."""


def ask(
    predict: dspy.Predict, *, lm: dspy.BaseLM, adapter: dspy.Adapter | None, config: dict[str, Any], **inputs: str
) -> dspy.Prediction | str:
    """Return what an LM replied, or the plain text of the reply if the adapter could not read it.

    The adapter does not follow the student's: scores compare only under one adapter, and the prose adapter cannot carry
    typed fields. The trace is the call's own, so that nothing of it is taken for a step of the program.

    Args:
        predict: The predictor to ask by.
        lm: The LM to ask.
        adapter: The adapter; None is JSON.
        config: Options of the call.
        inputs: The predictor's input fields.
    """
    with dspy.context(lm=lm, adapter=_unfailing(adapter or _json(), tuple(inputs.values())), trace=[]):
        try:
            return predict(config=config, **inputs)
        except AdapterParseError as error:
            return str(error.lm_response or "")


class _RememberingJSON(dspy.JSONAdapter):  # type: ignore[misc]  # DSPy has no type marker
    """The JSON adapter, which makes once what depends on the signature alone: schemas cost milliseconds a call."""

    def __init__(self) -> None:
        super().__init__()
        self._messages: dict[Any, str] = {}
        self._formats: dict[Any, dict[str, Any]] = {}

    def format_system_message(self, signature: type[dspy.Signature]) -> str:
        if signature not in self._messages:
            self._messages[signature] = super().format_system_message(signature)
        return self._messages[signature]

    def _prepare_response_format(self, lm: dspy.BaseLM, lm_kwargs: dict[str, Any], signature: Any) -> None:
        key = signature, "response_format" in lm.supported_params, lm.supports_response_schema
        if key not in self._formats:
            found: dict[str, Any] = {}
            super()._prepare_response_format(lm, found, signature)
            self._formats[key] = found
        lm_kwargs.update(self._formats[key])


@cache
def _json() -> dspy.Adapter:
    return _RememberingJSON()


def _unfailing(adapter: dspy.Adapter, shown: tuple[str, ...]) -> dspy.Adapter:
    """Return an adapter which asks only once, for which no reply is worse than unreadable, and no quote is a reply.

    Args:
        adapter: The adapter; it is left as it is.
        shown: The texts of the prompt, which a reply may quote.
    """
    own = copy.copy(adapter)
    own.parse = partial(_parsed, adapter, shown)
    own.use_json_adapter_fallback = False  # of the chat adapter: asking again is ours to do, and to count
    return own


def _parsed(
    adapter: dspy.Adapter, shown: tuple[str, ...], signature: type[dspy.Signature], completion: str
) -> dict[str, Any]:
    reason = f"The reply is longer than {READ_AT_MOST} characters, or has more than {DEEPEST} brackets within brackets."
    if len(completion) <= READ_AT_MOST:
        try:
            values, completion = own_values(completion, list(signature.output_fields), shown)
            if values is not None and (typed := _typed(signature, values)) is not None:
                return typed
            if not _is_deep(completion):
                return adapter.parse(signature, completion)  # type: ignore[no-any-return]
        except Exception as error:  # parsers raise whatever a strange text runs them into
            reason = str(error)
    raise AdapterParseError(
        adapter_name=type(adapter).__name__, signature=signature, lm_response=completion, message=reason
    )


def _typed(signature: type[dspy.Signature], values: dict[str, Any]) -> dict[str, Any] | None:
    """Return values as the fields' types have them, None if one does not fit."""
    try:
        return {name: parse_value(values[name], field.annotation) for name, field in signature.output_fields.items()}
    except ValueError:
        return None


def fresh(lm: dspy.BaseLM, number: int, *, temperature: float | None = None) -> dict[str, Any]:
    """Return the call options of sample `number` of a prompt: 0 is the plain call, others are drawn anew.

    Args:
        lm: The LM that will be called.
        number: From 0; caches tell samples apart by it.
        temperature: Sampling temperature of every sample, 0 or more. None: the LM's own, raised for all but the plain
            call where it does not vary the reply.
    """
    options: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
    if number == 0:
        return options
    if temperature != 0:
        options["rollout_id"] = number  # DSPy warns that it cannot vary a greedy reply
    own = lm.kwargs.get("temperature")
    # None is the provider's default, which reasoning models insist on and which is never 0.
    if temperature is None and own is not None and own < 0.15:
        options["temperature"] = FRESH_TEMPERATURE
    if lm.kwargs.get("seed") is not None:
        options["seed"] = lm.kwargs["seed"] + number  # under one seed a server draws one reply, however often
    return options


def sound(text: str) -> str:
    r"""Return a model's text as it can be sent and saved: JSON escapes can leave half a character in it, or a NUL.

    Example:
        >>> sound("cut off \ud83d")
        'cut off \ufffd'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")


Written = Annotated[
    str,
    BeforeValidator(lambda value: sound(value) if isinstance(value, str) else ""),
    # Providers refuse a strict schema that states defaults.
    Field(default="", json_schema_extra=lambda schema: schema.pop("default", None)),
]
"""The type of a text that a model writes beside what matters: anything else in its place counts as empty."""


def json_objects(text: str) -> list[dict[str, Any]]:
    r"""Return the JSON objects that stand in a text, in order: fenced, with prose around them, or cut off.

    Args:
        text: A model's reply.

    Example:
        >>> json_objects('Sure! ```json\n{"score": "4/5"}\n``` Anything else?')
        [{'score': '4/5'}]
    """
    text = text[:READ_AT_MOST]
    whole = _loads(text)
    found = whole if isinstance(whole, list) else [whole]
    if not any(isinstance(item, dict) for item in found):
        found = [_loads(part) for part in _braced(text)]
    return [item for item in found if isinstance(item, dict)]


def last_text(reply: str, name: str) -> str:
    """Return the last text of this name in the JSON objects of a reply that did not parse as a whole, else nothing.

    Example:
        >>> last_text('First {"answer": "4"}, or rather {"answer": "5"}', "answer")
        '5'
    """
    found = [item[name] for item in json_objects(reply) if isinstance(item.get(name), str)]
    return found[-1] if found else ""


def _braced(text: str) -> Iterator[str]:
    """Yield the outermost parts of a text that stand in matching braces."""
    opened: list[int] = []
    spans: list[tuple[int, int]] = []
    for brace in re.finditer(r"[{}]", text):
        if brace.group() == "{":
            opened.append(brace.start())
        elif opened:
            begin = opened.pop()
            while spans and spans[-1][0] > begin:
                spans.pop()
            spans.append((begin, brace.end()))
    return (text[begin:end] for begin, end in spans)


def _loads(text: str) -> Any:
    try:
        return None if _is_deep(text) else json_repair.loads(text)
    except ValueError:
        return None


def _is_deep(text: str) -> bool:
    opened: list[str] = []
    for bracket in re.findall(r"[][{}]", text):
        if bracket in "[{":
            opened.append(bracket)
        elif opened and opened[-1] + bracket in ("[]", "{}"):
            opened.pop()
        if len(opened) > DEEPEST:
            return True
    return False

"""The plain-prose adapter: what is optimized is, byte for byte, what is sent.

Chat models get the instruction as the system message, each demonstration as a user and an assistant turn, and the
inputs as the last user turn; the whole reply is the output field. Small models need no field markers then, and an
instruction that reads well in the trace reads the same to the model.

Base models (`model_type="text"`) get one completion prompt in the paper's layout (appendix; algorithm, section 6):
instruction, demonstrations and query as titled blocks, each answer between a start and an end marker, with the end
marker as stop string.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy
from dspy.adapters.base import Adapter
from dspy.utils.exceptions import AdapterParseError

from ..errors import ConfigError
from .text import render_inputs

START, END = "<START>", "<END>"
"""The marks around an answer in a base model's prompt."""
STOPS = (END, "<END", "<|eot_id|>")
"""Where a base model's reply ends; it may not write the end marker to its last character."""


class ProseAdapter(Adapter):  # type: ignore[misc]  # DSPy has no type marker
    """Send a one-output signature as plain conversation, and take the whole reply as its output.

    Example:
        >>> signature = dspy.Signature("query -> response", "Answer in one sentence.")
        >>> ProseAdapter().format(signature, demos=[], inputs={"query": "Why is the sky blue?"})
        [{'role': 'system', 'content': 'Answer in one sentence.'}, {'role': 'user', 'content': 'Why is the sky blue?'}]
    """

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Format, call and read, in the layout that the LM's type asks for."""
        adapter, options = self._fitting(lm, lm_kwargs)
        return Adapter.__call__(adapter, lm, options, signature, demos, inputs)  # type: ignore[no-any-return]

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Do what `__call__` does, asynchronously."""
        adapter, options = self._fitting(lm, lm_kwargs)
        return await Adapter.acall(adapter, lm, options, signature, demos, inputs)  # type: ignore[no-any-return]

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the messages of a chat model's call.

        Raises:
            ConfigError: If the signature has more than one output field.
        """
        messages = [{"role": "system", "content": signature.instructions}]
        for query, answer in _turns(signature, demos):
            messages += [{"role": "user", "content": query}, {"role": "assistant", "content": answer}]
        return [*messages, {"role": "user", "content": _inputs(signature, inputs)}]

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """Return the whole reply, without outer blanks, as the output field.

        Raises:
            AdapterParseError: If nothing is left.
        """
        text = completion.strip()
        if not text:
            raise AdapterParseError(
                adapter_name="ProseAdapter", signature=signature, lm_response=completion, message="The reply is empty."
            )
        return {output_field(signature): text}

    def _fitting(self, lm: dspy.BaseLM, lm_kwargs: dict[str, Any]) -> tuple[Adapter, dict[str, Any]]:
        if lm.model_type != "text":
            return self, lm_kwargs
        return _CompletionAdapter(callbacks=self.callbacks), {"stop": list(STOPS), **lm_kwargs}


class _CompletionAdapter(ProseAdapter):
    """The layout of a base model's call."""

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        prompt = completion_prompt(signature.instructions, _turns(signature, demos), _inputs(signature, inputs))
        return [{"role": "user", "content": prompt}]

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        for stop in STOPS:  # a server may send them along
            completion = completion.partition(stop)[0]
        parsed: dict[str, Any] = super().parse(signature, completion.strip().removeprefix(START))
        return parsed


def completion_prompt(instruction: str, turns: list[tuple[str, str]], query: str) -> str:
    """Return the one prompt of a base model.

    Args:
        instruction: The instruction.
        turns: (query, answer) of each demonstration.
        query: The query to answer.
    """
    blocks = [instruction]
    blocks += [
        f"# Query\n{_unmarked(asked)}\n\n# Answer\n{START}\n{_unmarked(answer)}\n{END}" for asked, answer in turns
    ]
    blocks.append(f"# Query\n{_unmarked(query)}\n\n# Answer\n{START}\n")
    return "\n\n".join(blocks)


def output_field(signature: type[dspy.Signature]) -> str:
    """Return the name of the only output field.

    Raises:
        ConfigError: If there is not exactly one.
    """
    names = list(signature.output_fields)
    if len(names) != 1:
        raise ConfigError(
            f"signature {signature.signature!r}: the prose adapter takes the whole reply as one output field, and this "
            f"signature has {len(names)}; use adapter='chat', 'json' or 'xml' for it"
        )
    return str(names[0])


def _inputs(signature: type[dspy.Signature], values: Mapping[str, Any]) -> str:
    return render_inputs({name: values[name] for name in signature.input_fields if name in values})


def _turns(signature: type[dspy.Signature], demos: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return (query, answer) of each demonstration that has an answer."""
    output = output_field(signature)
    return [(_inputs(signature, demo), str(demo[output])) for demo in demos if output in demo]


def _unmarked(text: str) -> str:
    return text.replace(START, "< START >").replace(END, "< END >")

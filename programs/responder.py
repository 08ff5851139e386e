"""The responder: the program that DRPO compiles unless the user brings another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import dspy
from dspy.adapters.utils import get_annotation_name

from ..errors import ConfigError, ProgramFileError, ProgramStructureError
from .encoders import Encoder
from .prose import ProseAdapter, output_field
from .retrieval import RetrievingPredict

FORMAT = 1
"""Version of what a saved responder says of itself."""

AdapterName = Literal["prose", "chat", "json", "xml"]
ABOUT = "responder"
"""The entry of a saved state that says how to build the responder again."""


class Responder(dspy.Module):  # type: ignore[misc]  # DSPy has no type marker
    """Answer a query in plain prose, shown the demonstrations nearest to it.

    Args:
        signature: One or several input fields and one output field. Default `"query -> response"`.
        instructions: The instruction to begin with. None: the signature's own, or that of a helpful assistant.
        demos: Demonstrations to retrieve from: mappings with the signature's fields.
        k: How many are shown per query, 0 to `len(demos)`. None: 2, or as many as there are.
        encoder: What makes queries comparable: an encoder or its name; None is the lexical one.
        adapter: `prose` sends the plain conversation; `chat`, `json` and `xml` are DSPy's.

    Raises:
        ConfigError: If the signature does not fit the adapter, or `k` exceeds the number of demonstrations.

    Example:
        >>> responder = Responder(demos=[{"query": "Hi", "response": "Hello!"}], k=1)
        >>> responder.respond.signature.instructions
        'You are a helpful assistant.'
    """

    def __init__(
        self,
        signature: str | type[dspy.Signature] = "query -> response",
        *,
        instructions: str | None = None,
        demos: Sequence[Mapping[str, Any]] = (),
        k: int | None = None,
        encoder: Encoder | str | None = None,
        adapter: AdapterName = "prose",
    ) -> None:
        super().__init__()
        if isinstance(signature, str):
            own: type[dspy.Signature] = dspy.Signature(signature, instructions or "You are a helpful assistant.")
        else:
            own = signature if instructions is None else signature.with_instructions(instructions)
        if adapter == "prose":
            output_field(own)
        self.adapter = adapter
        self.respond = RetrievingPredict(own, demos=demos, k=min(2, len(demos)) if k is None else k, encoder=encoder)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Return a prediction with the signature's output field."""
        with dspy.context(adapter=make_adapter(self.adapter)):
            return self.respond(**inputs)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """Do what `forward` does, asynchronously."""
        with dspy.context(adapter=make_adapter(self.adapter)):
            return await self.respond.acall(**inputs)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return the predictor's state and what it takes to build this responder again."""
        state: dict[str, Any] = super().dump_state(json_mode=json_mode)
        signature = self.respond.signature
        about = {"format": FORMAT, "adapter": self.adapter, "signature": _described(signature)}
        return {**state, ABOUT: about}

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """Take over a saved state.

        Raises:
            ProgramFileError: If the state's format is of an unknown version.
            ProgramStructureError: If it was saved from a program of another structure.
        """
        about = read_about(state)
        mine = _described(self.respond.signature)
        if about is None or {"types": {}, **about["signature"]} != mine:
            saved = about["signature"] if about else sorted(set(state) - {"metadata"})
            raise ProgramStructureError(f"the saved program is not this Responder: it has {saved!r}, expected {mine!r}")
        self.adapter = about["adapter"]
        super().load_state(
            {key: value for key, value in state.items() if key != ABOUT}, allow_unsafe_lm_state=allow_unsafe_lm_state
        )

    @classmethod
    def from_state(cls, state: dict[str, Any], *, encoder: Encoder | str | None = None) -> Responder:
        """Build a responder of the saved structure; its contents still have to be loaded.

        Raises:
            ProgramFileError: If the description in the state is of an unknown version or incomplete.
            ProgramStructureError: If the state is not a responder's, or has field types that a file cannot bring back.
        """
        about = read_about(state)
        if about is None:
            raise ProgramStructureError(
                "the saved program is not a Responder; give load(..., student=...) a program of its structure"
            )
        fields = about["signature"]
        if fields.get("types"):
            raise ProgramStructureError(
                f"the saved Responder has fields of the types {fields['types']!r}; give load(..., student=...) a "
                "Responder with its signature"
            )
        try:
            signature = dspy.Signature(", ".join(fields["inputs"]) + " -> " + ", ".join(fields["outputs"]))
            if about["adapter"] == "prose":
                output_field(signature)
        except (ValueError, SyntaxError) as error:
            raise ProgramFileError(f"the saved responder cannot be built from {about!r}: {error}") from None
        return cls(signature, adapter=about["adapter"], encoder=encoder)


def make_adapter(name: AdapterName) -> dspy.Adapter:
    """Return a new adapter by its name in a config.

    Raises:
        ConfigError: If there is none of that name.
    """
    makers = {"prose": ProseAdapter, "chat": dspy.ChatAdapter, "json": dspy.JSONAdapter, "xml": dspy.XMLAdapter}
    if name not in makers:
        raise ConfigError(f"adapter={name!r}: choose one of {', '.join(makers)}")
    return makers[name]()


def read_about(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a saved responder says of itself, None if the state is another program's.

    Raises:
        ProgramFileError: If it is of an unknown format version or incomplete.
    """
    about = state.get(ABOUT)
    if about is None:
        return None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        version = about.get("format") if isinstance(about, dict) else about
        raise ProgramFileError(
            f"the saved responder has format {version!r}, this version of drpo reads {FORMAT}; upgrade drpo-dspy"
        )
    fields = about.get("signature")
    sides = [fields.get(side) for side in ("inputs", "outputs")] if isinstance(fields, dict) else [None]
    if about.get("adapter") not in get_args(AdapterName) or not all(map(_are_names, sides)):
        raise ProgramFileError(f"the saved responder is incomplete: it describes itself as {about!r}; save it again")
    return about


def _described(signature: type[dspy.Signature]) -> dict[str, Any]:
    types = {name: get_annotation_name(field.annotation) for name, field in signature.fields.items()}
    return {
        "inputs": list(signature.input_fields),
        "outputs": list(signature.output_fields),
        "types": {name: said for name, said in types.items() if said != "str"},
    }


def _are_names(value: object) -> bool:
    names = value if isinstance(value, list) else []
    return bool(names) and all(isinstance(name, str) and name.isidentifier() for name in names)

"""What a request asks for, read from its text alone, as a model would have to.

DSPy's three adapters are read by their own marks (fields in, fields out, demonstrations, the objective), the plain
prose of chat models and the paper's completion layout by theirs; anything else is one text to be answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import json_repair

from .cues import read_cues

if TYPE_CHECKING:
    from .models import SimulatedRequest


class Style(StrEnum):
    """How the reply has to be written."""

    PLAIN = "plain"
    """As text."""
    CHAT = "chat"
    """Fields under `[[ ## name ## ]]` marks."""
    JSON = "json"
    """One JSON object."""
    XML = "xml"
    """Fields between `<name>` tags."""


@dataclass(frozen=True)
class Field:
    """One field that is asked for."""

    name: str
    """Its name."""
    type: str
    """Its type as the prompt words it; `str` where it says none."""
    description: str
    """What the prompt says of it."""
    schema: Mapping[str, Any] | None = None
    """Its JSON schema where one is known."""


@dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    style: Style
    """How the reply is to be written."""
    instruction: str
    """The instruction, without the words of the adapter around it."""
    inputs: Mapping[str, str]
    """Input field to its text; one field named `text` where there are none."""
    outputs: tuple[Field, ...]
    """The fields asked for; empty where plain text is."""
    demos: tuple[tuple[str, str], ...]
    """(query, answer) of each demonstration."""

    @property
    def query(self) -> str:
        """The inputs as one text, without what an earlier step of the program wrote."""
        own = {name: value for name, value in self.inputs.items() if not read_cues(value)} or self.inputs
        return (
            next(iter(own.values())) if len(own) == 1 else "\n".join(f"{name}: {value}" for name, value in own.items())
        )

    @property
    def drafts(self) -> tuple[str, ...]:
        """Inputs that the simulated base wrote in an earlier step of the program."""
        return tuple(value for value in self.inputs.values() if read_cues(value)) if len(self.inputs) > 1 else ()


_OUTPUT_LIST = re.compile(r"Your output fields are:\n(.*?)\nAll interactions will be structured", re.S)
_LISTED = re.compile(r"^\d+\. `([^`]+)` \((.*?)\):[ \t]*(.*?)(?=^\d+\. `|\Z)", re.S | re.M)
_OBJECTIVE = re.compile(r"your objective is:[ \t]*\n?(.*)\Z", re.S)
_MARK = re.compile(r"^\[\[ ## (\w+) ## \]\][ \t]*\n?", re.M)
_TAIL = re.compile(r"\n+Respond with (?:the corresponding output fields|a JSON object)[^\n]*\Z")
_BLOCK = re.compile(r"# Query\n(.*?)\n\n# Answer\n(?:<START>\n?)?(.*?)(?=\n?<END>|\Z)", re.S)
_SCHEMA_NOTE = "adhere to the JSON schema: "


def read_request(request: SimulatedRequest) -> Asked:
    """Return what a request asks for."""
    system = request.system
    last = request.turns[-1][1] if request.turns else ""
    listed = _OUTPUT_LIST.search(system)
    if listed is None:
        return _plain(request, system, last)
    schemas = _properties(request.schema)
    outputs = tuple(
        Field(name, kind, " ".join(said.split()), schemas.get(name) or _noted_schema(system, name))
        for name, kind, said in _LISTED.findall(listed.group(1))
    )
    if "Respond with a JSON object" in last or "Outputs will be a JSON object" in system or request.schema:
        style = Style.JSON
    elif "wrapped in XML tags" in last:
        style = Style.XML
    else:
        style = Style.CHAT
    objective = _OBJECTIVE.search(system)
    instruction = "\n".join(line.strip() for line in objective.group(1).splitlines()) if objective else ""
    return Asked(
        style=style,
        instruction=instruction.strip(),
        inputs=_fields(last),
        outputs=outputs,
        demos=tuple(_demos(request.turns[:-1], outputs)),
    )


def _plain(request: SimulatedRequest, system: str, last: str) -> Asked:
    demos: list[tuple[str, str]] = []
    instruction = system
    blocks = list(_BLOCK.finditer(last)) if not system and "# Answer" in last else []
    if blocks:  # the paper's completion layout: instruction, titled demonstrations, titled query
        instruction = last[: blocks[0].start()].strip()
        demos = [(block.group(1), block.group(2).strip()) for block in blocks[:-1]]
        last = blocks[-1].group(1)
    else:
        said = list(request.turns[:-1])
        demos = [(one[1], other[1]) for one, other in pairwise(said) if (one[0], other[0]) == ("user", "assistant")]
    outputs: tuple[Field, ...] = ()
    style = Style.PLAIN
    if request.schema is not None and isinstance(request.schema.get("properties"), Mapping):
        style = Style.JSON
        outputs = tuple(
            Field(name, "", str(schema.get("description", "")), schema)
            for name, schema in _properties(request.schema).items()
        )
    return Asked(style=style, instruction=instruction, inputs={"text": last}, outputs=outputs, demos=tuple(demos))


def _properties(schema: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Return the schema of each field, each with the definitions that it may refer to."""
    if not schema or not isinstance(schema.get("properties"), Mapping):
        return {}
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {name: {**part, **definitions} for name, part in schema["properties"].items() if isinstance(part, Mapping)}


def _fields(turn: str) -> dict[str, str]:
    turn = _TAIL.sub("", turn)
    marks = list(_MARK.finditer(turn))
    if marks:
        ends = [mark.start() for mark in marks[1:]] + [len(turn)]
        return {
            mark.group(1): turn[mark.end() : end].strip()
            for mark, end in zip(marks, ends, strict=True)
            if mark.group(1) != "completed"
        }
    tags = re.findall(r"^<(\w+)>\n?(.*?)\n?</\1>", turn, re.S | re.M)
    return {name: text.strip() for name, text in tags} or {"text": turn.strip()}


def _demos(turns: tuple[tuple[str, str], ...], outputs: tuple[Field, ...]) -> list[tuple[str, str]]:
    found = []
    for (one, asked), (other, answered) in pairwise(turns):
        if (one, other) != ("user", "assistant"):
            continue
        values = _answered(answered)
        wanted = [values[field.name] for field in outputs if field.name in values]
        query = "\n".join(_fields(asked).values())
        found.append((query, "\n".join(wanted) if wanted else answered))
    return found


def _answered(text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        try:
            data = json.loads(text)
        except ValueError:
            data = {}
        if isinstance(data, dict):
            return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in data.items()}
    return _fields(text)


def _noted_schema(system: str, name: str) -> Mapping[str, Any] | None:
    """Return the schema that an adapter writes beside a field that is not plain text."""
    start = system.find("{" + name + "}        # note: ")
    if start < 0:
        return None
    line = system[start:].split("\n", 1)[0]
    _, found, text = line.partition(_SCHEMA_NOTE)
    if not found:
        return None
    if '\\"' in text:  # the JSON adapter writes it inside a string
        text = text.rstrip(",").rstrip('"').replace('\\"', '"').replace("\\\\", "\\")
    data = json_repair.loads(text)
    return data if isinstance(data, dict) else None


_ENCLOSED = re.compile(r"<<(\w+) ([0-9a-f]{8})>>\n(.*?)\n<</\1 \2>>", re.S)


def opened(text: str) -> str:
    r"""Return what stands between the marks of `programs.boundary`, or the text itself.

    Example:
        >>> opened("<<answer 185f8db3>>\nHello\n<</answer 185f8db3>>")
        'Hello'
    """
    match = _ENCLOSED.search(text)
    return match.group(3) if match else text


def opened_all(text: str) -> list[str]:
    """Return everything that stands between such marks, in order."""
    return [match.group(3) for match in _ENCLOSED.finditer(text)]

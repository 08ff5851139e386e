"""OpenAI's requests, as far as the simulated models understand them.

What is understood is checked; what would change an answer and is not offered is refused by name; other fields
(`user`, `metadata`, a server's own options) are passed over, as other OpenAI-compatible servers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError, from_json

from .embeddings import DIMENSIONS
from .json_schemas import schema_problem
from .models import SimulatedRequest
from .wire import Call, EmbeddingCall, WireError, shown

MOST_REPLIES = 1024
"""Most replies, or vectors, that one request may ask for."""

_SomeBody = TypeVar("_SomeBody", bound=BaseModel)
_SYSTEM_ROLES = frozenset({"system", "developer"})
_NOT_OFFERED = {
    "stream": "the simulated models answer in one piece; leave 'stream' out or set it to false",
    "tools": "the simulated models call no tools; leave 'tools' out",
    "functions": "the simulated models call no functions; leave 'functions' out",
    "audio": "the simulated models write text only; leave 'audio' out",
    "structured_outputs": "send a JSON schema as 'response_format' instead",
    "prompt_logprobs": "log-probabilities are given for replies only; leave 'prompt_logprobs' out",
    "echo": "prompts are not repeated in replies; leave 'echo' out",
    "suffix": "the simulated models only continue a prompt; leave 'suffix' out",
    "best_of": "ask for several replies with 'n' instead",
}


def read_chat(body: bytes) -> Call | WireError:
    """Read the body of a POST to `/v1/chat/completions`."""
    read = _read(_ChatBody, body)
    return read if isinstance(read, WireError) else read.call()


def read_text(body: bytes) -> Call | WireError:
    """Read the body of a POST to `/v1/completions`."""
    read = _read(_TextBody, body)
    return read if isinstance(read, WireError) else read.call()


def read_embedding(body: bytes) -> EmbeddingCall | WireError:
    """Read the body of a POST to `/v1/embeddings`."""
    read = _read(_EmbeddingBody, body)
    return read if isinstance(read, WireError) else read.call()


def _wrong(message: str, *, param: str | None = None, code: str | None = None) -> PydanticCustomError:
    # The template keeps braces in the message from being read as places to fill.
    return PydanticCustomError("wrong_request", "{message}", {"message": message, "param": param, "code": code})


def _read(kind: type[_SomeBody], body: bytes) -> _SomeBody | WireError:
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        return WireError(message=f"The body is not valid JSON ({error}).", code="invalid_json")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        return _first_error(error)


def _first_error(error: ValidationError) -> WireError:
    found = error.errors(include_url=False)[0]
    if found["type"] == "wrong_request":
        context = found["ctx"]
        param = context["param"] or _path(found["loc"]) or None
        return WireError(message=context["message"], param=param, code=context["code"])
    param = _path(found["loc"])
    if found["type"] == "missing":
        return WireError(
            message=f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )
    wrong_type = found["type"].endswith("_type")
    return WireError(
        message=f"Invalid {'type' if wrong_type else 'value'} for '{param}': {shown(found['input'])}. {found['msg']}.",
        param=param,
        code="invalid_type" if wrong_type else "invalid_value",
    )


def _path(location: Sequence[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).removeprefix(".")


def _as_list(value: Any) -> Any:
    if value is not None and not isinstance(value, str | list):
        raise _wrong(f"Invalid type: {shown(value)}. Give a text or an array of texts.", code="invalid_type")
    return [value] if isinstance(value, str) else value


_Texts = Annotated[list[str], BeforeValidator(_as_list)]


class _Body(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(strict=True, extra="ignore")

    model: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_offered(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            raise _wrong("The body must be a JSON object.", code="invalid_type")
        for name, remedy in _NOT_OFFERED.items():
            if body.get(name):
                raise _wrong(f"{name!r} is not offered: {remedy}.", param=name, code="unsupported_parameter")
        return body


class _SamplingBody(_Body):
    """What both kinds of completion have in common."""

    n: int | None = Field(default=None, ge=1, le=128)
    temperature: float | None = Field(default=None, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, ge=0.0, le=1.0)
    seed: int | None = None
    stop: _Texts | None = None
    max_tokens: int | None = Field(default=None, ge=1)

    def _request(self, **fields: Any) -> SimulatedRequest:
        return SimulatedRequest(
            model=self.model,
            temperature=self.temperature,
            seed=self.seed,
            sample=0,
            stop=tuple(text for text in self.stop or () if text),
            **fields,
        )


class _SchemaFormat(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    name: str = Field(min_length=1)
    wanted: dict[str, Any] = Field(alias="schema")


class _Format(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _SchemaFormat | None = None

    def schema_of_reply(self) -> dict[str, Any] | None:
        """The schema that a reply must follow, None for free text."""
        if self.type == "json_schema" and self.json_schema is not None:
            return self.json_schema.wanted
        return {"type": "object"} if self.type == "json_object" else None


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _text_only(cls, content: Any) -> Any:
        if not isinstance(content, list):
            return content
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise _wrong(
                    "The simulated models read text only: send parts of the form {'type': 'text', 'text': ...}."
                )
        return "".join(part["text"] for part in content)


class _ChatBody(_SamplingBody):
    messages: list[_Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: _Format | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise _wrong("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")
        for number, message in enumerate(self.messages):
            if message.content is None and message.role != "assistant":  # an assistant's turn may be a tool call
                where = f"messages[{number}].content"
                raise _wrong(f"Missing required parameter: '{where}'.", param=where, code="missing_required_parameter")
        wanted = self.response_format
        if wanted is not None and wanted.type == "json_schema":
            where = "response_format.json_schema"
            if wanted.json_schema is None:
                raise _wrong(f"Missing required parameter: '{where}'.", param=where, code="missing_required_parameter")
            problem = schema_problem(wanted.json_schema.wanted)
            if problem is not None:
                raise _wrong(
                    f"Invalid schema for response_format {shown(wanted.json_schema.name)}: {problem}",
                    param=f"{where}.schema",
                    code="invalid_json_schema",
                )
        return self

    def call(self) -> Call:
        """What this body asks."""
        turns = [(message.role, message.content or "") for message in self.messages]
        first = next((i for i, (role, _) in enumerate(turns) if role not in _SYSTEM_ROLES), len(turns))
        request = self._request(
            system="\n\n".join(text for _, text in turns[:first]),
            turns=tuple(turns[first:]),
            schema=self.response_format and self.response_format.schema_of_reply(),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            logprobs=bool(self.logprobs),
        )
        return Call(
            chat=True, model=self.model, requests=(request,), n=self.n or 1, alternatives=self.top_logprobs or 0
        )


class _TextBody(_SamplingBody):
    prompt: _Texts = Field(min_length=1, max_length=MOST_REPLIES)
    logprobs: int | None = Field(default=None, ge=0, le=20)

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        wanted = len(self.prompt) * (self.n or 1)
        if wanted > MOST_REPLIES:
            raise _wrong(f"Invalid value for 'n': {wanted} replies are asked for; at most {MOST_REPLIES}.", param="n")
        return self

    def call(self) -> Call:
        """What this body asks."""
        requests = [
            self._request(
                system="",
                turns=(("user", prompt),),
                schema=None,
                max_tokens=self.max_tokens,
                logprobs=self.logprobs is not None,
            )
            for prompt in self.prompt
        ]
        return Call(
            chat=False, model=self.model, requests=tuple(requests), n=self.n or 1, alternatives=self.logprobs or 0
        )


class _EmbeddingBody(_Body):
    input: Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_as_list)] = Field(
        min_length=1, max_length=MOST_REPLIES
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1, le=4096)

    def call(self) -> EmbeddingCall:
        """What this body asks."""
        return EmbeddingCall(
            model=self.model,
            texts=tuple(self.input),
            dimensions=self.dimensions or DIMENSIONS,
            compact=self.encoding_format == "base64",
        )

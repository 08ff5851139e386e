"""The formats of an export, by name."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from .bundle import Bundle
from .everything import everything
from .langchain import langchain
from .openai_body import openai_body
from .plain_dspy import plain_dspy
from .plain_text import plain_text


class Format(Protocol):
    """Makes a bundle the text of a file."""

    def __call__(self, bundle: Bundle) -> str:
        """Return the file's text."""
        ...


class FormatName(StrEnum):
    """What an export is for."""

    TEXT = "text"
    """To read, and for a base model the very prompt."""
    OPENAI = "openai"
    """The body of a request, for any OpenAI-compatible endpoint."""
    JSON = "json"
    """Everything, with hashes, for a program of one's own."""
    LANGCHAIN = "langchain"
    """A prompt template of LangChain."""
    DSPY = "dspy"
    """The state of a plain `dspy.Predict`."""


FORMATS: dict[FormatName, Format] = {
    FormatName.TEXT: plain_text,
    FormatName.OPENAI: openai_body,
    FormatName.JSON: everything,
    FormatName.LANGCHAIN: langchain,
    FormatName.DSPY: plain_dspy,
}
"""What makes each of them."""

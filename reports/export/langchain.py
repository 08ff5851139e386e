"""`langchain`: a prompt template in LangChain's own serialised form, for `langchain_core.load.loads`.

A chat model's is a `ChatPromptTemplate`, a base model's a `PromptTemplate`; the input fields are its variables. Braces
of the texts are doubled, so that the formatted template is byte for byte what the adapter sends.
"""

from __future__ import annotations

import json
from typing import Any

from ...errors import ConfigError
from .bundle import Bundle

_CLASSES = {"system": "SystemMessagePromptTemplate", "user": "HumanMessagePromptTemplate",
            "assistant": "AIMessagePromptTemplate"}  # fmt: skip


def langchain(bundle: Bundle) -> str:
    """Return the template as JSON.

    Raises:
        ConfigError: If a message has a role that LangChain's templates lack, or is more than text.
    """
    if isinstance(bundle.content, str):
        template = _template(bundle.content, bundle.placeholders)
    else:
        messages = [_message(role, _template(text, bundle.placeholders)) for role, text in bundle.turns]
        named = list(bundle.placeholders)
        template = _constructed("chat", "ChatPromptTemplate", input_variables=named, messages=messages)
    return json.dumps(template, ensure_ascii=False, indent=2) + "\n"


def _message(role: str, template: dict[str, Any]) -> dict[str, Any]:
    if role not in _CLASSES:
        raise ConfigError(f"the adapter sends a message of the role {role!r}, which LangChain's templates lack")
    return _constructed("chat", _CLASSES[role], prompt=template)


def _template(text: str, placeholders: dict[str, str]) -> dict[str, Any]:
    used = [name for name, mark in placeholders.items() if mark in text]
    escaped = text.replace("{", "{{").replace("}", "}}")
    for name in used:
        mark = placeholders[name].replace("{", "{{").replace("}", "}}")
        escaped = escaped.replace(mark, f"{{{name}}}")
    return _constructed("prompt", "PromptTemplate", input_variables=used, template=escaped, template_format="f-string")


def _constructed(module: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "prompts", module, name], "kwargs": arguments}

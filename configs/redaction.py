"""What a config holds that must not be shown: keys, tokens and passwords, wherever a user has put them."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "(hidden)"
"""What stands in the place of a secret."""

_SECRET_WORD = re.compile(
    r"(key|token|secret|password|passwd|passphrase|credential|auth|authorization|bearer|cookie)s?$", re.IGNORECASE
)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_URL_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_URL_QUERY = re.compile(r"(?<=[?&])([^=&#\s]+)=([^&#\s]+)")
_NAMES_A_VARIABLE = "api_key_env"


def looks_secret(name: str) -> bool:
    """Return whether a setting, variable or option of this name tends to hold a secret.

    Example:
        >>> [looks_secret(name) for name in ("OPENAI_API_KEY", "--hf-token", "x-apiKey", "max_len", "api_key_env")]
        [True, True, True, False, False]
    """
    return name != _NAMES_A_VARIABLE and any(_SECRET_WORD.search(word) for word in _WORDS.findall(name))


def redacted(value: Any, name: str = "") -> Any:
    """Return a copy of plain data in which every text below a secret name, and in an address, is hidden.

    Numbers stay: no key is a number, and `max_tokens` is none.

    Args:
        value: Mappings, lists and scalars.
        name: The name that the value stands under.

    Example:
        >>> redacted({"HF_TOKEN": "hf_abc", "args": ["--api-key", "abc"], "stop_token_ids": [2]})
        {'HF_TOKEN': '(hidden)', 'args': ['--api-key', '(hidden)'], 'stop_token_ids': [2]}
    """
    if isinstance(value, dict):
        # Below a secret name everything is secret, whatever its own name.
        return {key: redacted(item, name if looks_secret(name) else str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return _redacted_list(value, name)
    if isinstance(value, str) and value:
        return HIDDEN if looks_secret(name) else _redacted_address(value)
    return value


def _redacted_list(values: list[Any] | tuple[Any, ...], name: str) -> list[Any]:
    """Hide as `redacted` does, and what follows an option such as `--api-key`, in the next item or after `=`."""
    shown: list[Any] = []
    option = ""
    for value in values:
        if isinstance(value, str) and value.startswith("-"):
            option, equals, argument = value.partition("=")
            shown.append(option + equals + redacted(argument, option) if equals else value)
            option = "" if equals else option
        else:
            shown.append(redacted(value, name if looks_secret(name) else option or name))
    return shown


def _redacted_address(text: str) -> str:
    def query(match: re.Match[str]) -> str:
        return f"{match[1]}={HIDDEN}" if looks_secret(match[1]) else match[0]

    return _URL_QUERY.sub(query, _URL_USER.sub(HIDDEN, text)) if "://" in text else text

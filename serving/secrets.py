"""What an error's text must not carry to the disk or the screen: keys, tokens and passwords.

Providers quote keys in their refusals, whole or in part, and addresses can hold passwords; so can a program's own
errors. What an engine is given to sign in with is remembered for the whole process, in memory only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HIDDEN = "(hidden)"
"""What stands in the place of a secret."""

_SHORTEST = 8  # shorter values of the environment are words such as "none" or "true"
_SECRET_NAME = re.compile(
    r"(key|token|secret|password|passwd|credential|auth|authorization|bearer)s?([_-]|$)", re.IGNORECASE
)
_LOOKS_SECRET = re.compile(
    r"(?<=://)[^/@\s]+(?=@)"  # user and password of an address
    r"|(?<=bearer )\S+"
    r"|(?<![\w-])(sk|pk|hf|gsk|xai|key|ghp|AIza)[-_][\w*.-]{6,}"
    r"|(?<![\w-])AIza[\w*-]{10,}"
    r"|(?<=[?&])(key|token|api_key|access_token|sig|signature)=[^&\s]+",
    re.IGNORECASE,
)


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text in which what is known to be secret, or looks like it, is hidden.

    Args:
        text: What may hold secrets.
        secrets: Known ones. Remembered ones, and those of environment variables with names such as `OPENAI_API_KEY`,
            are known besides.

    Example:
        >>> without_secrets("Incorrect API key provided: sk-abc123456789.")
        'Incorrect API key provided: (hidden)'
    """
    environment = (value for name, value in os.environ.items() if _SECRET_NAME.search(name))
    given = (*secrets, *tuple(_remembered), *environment)
    known = {secret.strip() for secret in given if len(secret.strip()) >= _SHORTEST}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _LOOKS_SECRET.sub(HIDDEN, text)


def remember(options: Mapping[str, Any]) -> None:
    """Remember what stands under secret names in the arguments of an LM, in its headers, and in its addresses.

    Args:
        options: Arguments such as `api_key`, `extra_headers`, `extra_body` and `api_base`.
    """
    _remembered.update(secret for secret in _secrets_in(options, hidden=False) if len(secret) >= _SHORTEST)


def scrub(error: BaseException) -> None:
    """Hide secrets in all that an error says, and in the errors behind it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        link.args = tuple(without_secrets(value) if isinstance(value, str) else value for value in link.args)
        for name, value in list(getattr(link, "__dict__", {}).items()):
            if isinstance(value, str):
                link.__dict__[name] = without_secrets(value)
        link = link.__cause__ or link.__context__


def _secrets_in(value: Any, *, hidden: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            below = hidden or bool(_SECRET_NAME.search(str(name))) or str(name) in _HEADERS
            yield from _secrets_in(item, hidden=below and not str(name).startswith("max_"))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets_in(item, hidden=hidden)
    elif isinstance(value, str):
        if hidden:
            yield from {value, *value.split()}  # "Bearer <key>" is quoted without its first word
        elif "://" in value:
            for match in _IN_ADDRESS.finditer(value):
                yield from {match.group(), *match.group().split(":"), match.group().partition("=")[2]}


_remembered: set[str] = set()
_HEADERS = frozenset({"headers", "extra_headers", "default_headers"})
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+(?=@)|(?<=[?&])[^&=#\s]+=[^&#\s]+")

"""`text`: the prompt of a base model as it is sent, the messages of a chat model one below the other."""

from __future__ import annotations

from .bundle import Bundle


def plain_text(bundle: Bundle) -> str:
    r"""Return a base model's prompt, byte for byte, or a chat model's messages under a line with each one's role.

    Example:
        >>> from drpo import Responder
        >>> print(plain_text(Bundle(Responder(instructions="Answer briefly."), inputs={"query": "Why?"})), end="")
        ----- system -----
        Answer briefly.
        ----- user -----
        Why?
    """
    if isinstance(bundle.content, str):
        return bundle.content
    return "".join(f"----- {role} -----\n{text}\n" for role, text in bundle.turns)

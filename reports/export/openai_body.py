"""`openai`: the body of the request, for `/v1/chat/completions` or, with a `prompt`, `/v1/completions`."""

from __future__ import annotations

import json

from .bundle import Bundle


def openai_body(bundle: Bundle) -> str:
    """Return the body as JSON."""
    return json.dumps(bundle.request, ensure_ascii=False, indent=2) + "\n"

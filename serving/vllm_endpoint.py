"""What can be asked of a running vLLM server: is it healthy, which models does it offer, what has it counted."""

from __future__ import annotations

import http.client
import json
import urllib.request

from .settings import ServerSettings
from .vllm_command import server_environment

_LARGEST_REPLY = 16_000_000
_SECONDS = 5.0

# A proxy that the environment names must not stand between us and a server on this machine.
_open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def read_page(settings: ServerSettings, path: str) -> str | None:
    """The page at a path of the server (`/health`, `/metrics`), or None when it does not answer with one."""
    request = urllib.request.Request(settings.api_base.removesuffix("/v1") + path)
    if key := server_environment(settings).get("VLLM_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with _open_url(request, timeout=_SECONDS) as reply:
            text: str = reply.read(_LARGEST_REPLY).decode("utf-8", "replace")
            return text
    except (OSError, http.client.HTTPException, ValueError):
        return None


def already_running(settings: ServerSettings) -> bool:
    """Whether a healthy server that offers the model under its name answers at the settings' address."""
    return answers(settings) and settings.name in (offered_models(settings) or ())


def answers(settings: ServerSettings) -> bool:
    """Whether a healthy server, of whatever model, answers at the settings' address."""
    return read_page(settings, "/health") is not None


def offered_models(settings: ServerSettings) -> tuple[str, ...] | None:
    """The names that clients can ask for; None when the server does not tell (a key that we do not have)."""
    page = read_page(settings, "/v1/models")
    if page is None:
        return None
    try:
        return tuple(str(model["id"]) for model in json.loads(page)["data"])
    except (ValueError, KeyError, TypeError):
        return None

"""The live page: a run that is under way, followed from a browser on this machine.

    GET /       the page, as it is now
    GET /data   what it shows by now, with an ETag; 304 if the page has that

A page of models' texts must not become a way into the machine: the server listens on the loopback alone, answers only
requests that name it as their host and come from its own page, and has no other address and no other method. Nothing
in a request names a file.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from ..errors import RunDirectoryError
from .page import assets, embedded, page_from_data, policy

HOST = "127.0.0.1"
"""Where it listens."""


def live_application(look: Callable[[], Mapping[str, Any]], version: Callable[[], str]) -> web.Application:
    """Return the server's application.

    Args:
        look: Returns what the page shows at the moment; may raise a `RunDirectoryError`.
        version: Returns what changes whenever that does, at once.
    """
    newest = _Newest(look, version)

    async def page(request: web.Request) -> web.Response:
        tag, view = await asyncio.to_thread(newest.view)
        text = await asyncio.to_thread(page_from_data, {**view, "version": tag}, live=True)
        body = text.encode("utf-8", "backslashreplace")
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=_headers())

    async def data(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == newest.tag:
            return web.Response(status=304, headers=_headers())
        tag, view = await asyncio.to_thread(newest.view)
        body = await asyncio.to_thread(embedded, view)
        return web.Response(text=body, content_type="application/json", headers={**_headers(), "ETag": tag})

    application = web.Application(middlewares=[_guarded])
    application.router.add_get("/", page)
    application.router.add_get("/data", data)
    return application


class _Newest:
    """What the page shows, read again once it has changed."""

    def __init__(self, look: Callable[[], Mapping[str, Any]], version: Callable[[], str]) -> None:
        self._look, self._version = look, version
        self._lock = threading.Lock()
        self._seen = "", dict[str, Any]()

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self._version().encode()).hexdigest()[:24]}"'

    def view(self) -> tuple[str, dict[str, Any]]:
        with self._lock:  # several pages may ask at once
            tag = self.tag  # before the look: what changes meanwhile is another version
            if self._seen[0] != tag:
                self._seen = tag, {**self._look(), "live": True}
            return self._seen


@web.middleware
async def _guarded(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Answer the page's own requests only: a name that leads here by DNS, or another page, gets nothing."""
    if request.method not in ("GET", "HEAD"):
        raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])
    port = request.url.port
    own = {f"{host}:{port}" for host in (HOST, "localhost")}
    origin = request.headers.get("Origin")
    foreign = origin is not None and origin.removeprefix("http://") not in own
    if request.headers.get("Host") not in own or foreign:
        raise web.HTTPForbidden(text="this page is for a browser on this machine")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise web.HTTPForbidden(text="this page is not for other pages")
    try:
        answer: web.StreamResponse = await handler(request)
    except RunDirectoryError as error:  # the page asks again: a file may be written anew
        raise web.HTTPServiceUnavailable(text=str(error)) from error
    return answer


def _headers() -> dict[str, str]:
    return {
        "Content-Security-Policy": f"{policy(*assets(), live=True)}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }

"""The live page: a run that is under way, followed from a browser on this machine.

    GET /       the page, as it is now
    GET /data   what has changed since; 304 if nothing has

A page of models' texts must not become a way into the machine: the server listens on the loopback alone, answers only
requests that name it as their host and come from its own page, and has no other address and no other method. Nothing
in a request names a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from .page import assets, page_from_data, policy

HOST = "127.0.0.1"
"""Where it listens."""


def live_application(look: Callable[[], Mapping[str, Any]]) -> web.Application:
    """Return the server's application.

    Args:
        look: Returns what the page shows at the moment.
    """

    async def page(request: web.Request) -> web.Response:
        version, view = _now(look)
        text = page_from_data({**view, "version": version}, live=True)
        return web.Response(text=text, content_type="text/html", headers=_headers())

    async def data(request: web.Request) -> web.Response:
        version, view = _now(look)
        headers = {**_headers(), "ETag": version}
        if request.headers.get("If-None-Match") == version:
            return web.Response(status=304, headers=headers)
        return web.Response(body=orjson.dumps(view), content_type="application/json", headers=headers)

    application = web.Application(middlewares=[_guarded])
    application.router.add_get("/", page)
    application.router.add_get("/data", data)
    return application


def _now(look: Callable[[], Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    view = {**look(), "live": True}
    return f'"{hashlib.sha256(orjson.dumps(view)).hexdigest()[:24]}"', view


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
    answer: web.StreamResponse = await handler(request)
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

"""The page: one HTML file that holds its data, its style and its script, and asks nobody for anything.

    data (`run_view.py`)  ->  blocks of JSON that no browser runs
    reports/page/*.js     ->  one script, allowed by its hash
    reports/page/*.css    ->  one style, allowed by its hash

All text of models is in the JSON blocks, in which no `<` is left, and gets into the page through `textContent` alone.
The content policy holds that up: it allows this script and no other, no request at all, and forbids the script to make
markup out of a string.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import orjson

from .bundle import bundled

DETAILS_PER_BLOCK = 50
"""How many nodes share a block: one is parsed when a node of it is looked at."""


def page_from_data(view: Mapping[str, Any], *, live: bool = False) -> str:
    """Return the page of a run or of a report as one HTML file.

    Args:
        view: What it shows, from `run_view` or `report_view`.
        live: Whether it asks its own server for newer data; a file cannot.

    Example:
        >>> page = page_from_data({"kind": "report", "title": "<script>", "sections": []})
        >>> page.count("<script>"), "default-src 'none'" in page
        (1, True)
    """
    script, style = assets()
    blocks: list[tuple[str, Any]] = [
        ("view", {**{key: value for key, value in view.items() if key not in _LAZY}, "live": live})
    ]
    details = list(view.get("details", ()))
    for place in range(0, len(details), DETAILS_PER_BLOCK):
        blocks.append((f"details-{place // DETAILS_PER_BLOCK}", details[place : place + DETAILS_PER_BLOCK]))
    blocks += [(name, view[name]) for name in _LAZY if name != "details" and name in view]
    data = "\n".join(
        f'<script type="application/json" id="{name}">{embedded(block)}</script>' for name, block in blocks
    )
    return _PAGE.format(
        policy=policy(script, style, live=live),
        title=html.escape(str(view.get("title", ""))),
        style=style,
        script=script,
        data=data,
        block=DETAILS_PER_BLOCK,
    )


def embedded(data: Any) -> str:
    r"""Return data as JSON that can stand within a script element: without any `<`, so that nothing ends it.

    Example:
        >>> embedded(["</script><!--"])
        '["\\u003c/script>\\u003c!--"]'
    """
    try:
        text = orjson.dumps(data).decode()
    except TypeError:  # half of a surrogate pair
        text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def policy(script: str, style: str, *, live: bool) -> str:
    """Return the content policy: this script and this style, nothing else, and no request but a live page's own.

    Args:
        script: The script's text.
        style: The style's text.
        live: Whether the page may ask its own server.
    """
    rules = {
        "default-src": "'none'",
        "script-src": f"'{_digest(script)}'",
        "style-src": f"'{_digest(style)}'",
        **({"connect-src": "'self'"} if live else {}),
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


@cache
def assets() -> tuple[str, str]:
    """Return the page's script and its style."""
    folder = resources.files(__package__).joinpath("page")
    files = {
        one.name: one.read_text(encoding="utf-8") for one in folder.iterdir() if one.name.endswith((".js", ".css"))
    }
    style = "\n".join(text for name, text in sorted(files.items()) if name.endswith(".css"))
    return bundled({name: text for name, text in files.items() if name.endswith(".js")}, entry="main.js"), style


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


_LAZY: Sequence[str] = ("details", "final", "ledger")
"""Parts of a view that stand in blocks of their own, read when they are looked at."""

_PAGE = """<!doctype html>
<html lang="en" data-block="{block}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title} · drpo</title>
<style>{style}</style>
</head>
<body>
<noscript>This page draws its data by a script of its own, which makes no request; allow it to see the run.</noscript>
{data}
<script>{script}</script>
</body>
</html>
"""

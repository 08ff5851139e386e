"""Waiting for a page whose content policy lets nobody evaluate text in it, Playwright's own waiting included."""

from __future__ import annotations

import time
from typing import Any

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 740}
SIZES = {"desktop": DESKTOP, "phone": PHONE}


def until(page: Any, script: str, *, timeout: float = 10.0) -> None:
    """Wait until an expression is true in the page."""
    end = time.monotonic() + timeout
    while not page.evaluate(script):
        assert time.monotonic() < end, f"after {timeout} s it is still not true that {script}"
        page.wait_for_timeout(20)


def until_text(page: Any, selector: str, text: str) -> None:
    """Wait until an element says something."""
    end = time.monotonic() + 10
    while (found := page.text_content(selector)) != text:
        assert time.monotonic() < end, f"{selector} says {found!r}, not {text!r}"
        page.wait_for_timeout(20)


def serious_faults(page: Any) -> dict[str, list[str]]:
    """Return what axe calls serious or critical in a page: its name, and the first elements that have it."""
    from axe_playwright_python.sync_playwright import Axe

    return {
        fault["id"]: [node["html"][:160] for node in fault["nodes"]][:3]
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
    }

"""A real Chromium, and what a page must not do in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from browsing import DESKTOP

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Counts what the content policy had to stop: a page of ours attempts nothing that it forbids.
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective));
"""


@dataclass
class Opened:
    """A page, and what was seen of it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    failures: list[str | None] = field(default_factory=list)

    def violations(self) -> list[str]:
        found: list[str] = self.page.evaluate("window.violations")
        return found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="make test-browser has it")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail("there is no Chromium: `make browser-env` installs it, or says how")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Open an address and wait until its page is drawn."""
    contexts = []

    def go(address: str, *, size: dict[str, int] = DESKTOP, colours: str = "light", timeout: float = 20_000) -> Opened:
        context = chromium.new_context(viewport=size, color_scheme=colours)
        contexts.append(context)
        context.add_init_script(WATCH)
        opened = Opened(context.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("requestfailed", lambda request: opened.failures.append(request.failure))
        opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.page.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
        opened.page.goto(address)
        opened.page.wait_for_selector("html[data-ready]", state="attached", timeout=timeout)
        return opened

    yield go
    for context in contexts:
        context.close()


@pytest.fixture
def show(visit: Callable[..., Opened], tmp_path: Path) -> Callable[..., Opened]:
    """Open the page of a run's files from a file."""
    from drpo.reports.page import page_from_data
    from drpo.reports.run_view import run_view

    def open_page(files: dict[str, Any], **options: Any) -> Opened:
        target = tmp_path / "page.html"
        target.write_text(page_from_data(run_view(files, title="a run")), encoding="utf-8", errors="backslashreplace")
        return visit(target.as_uri(), **options)

    return open_page

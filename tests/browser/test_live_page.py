"""The live page in a real Chromium: it follows a run that grows, and no other page can ask its server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from browsing import until_text
from page_runs import config, minibatch_trace, run_files

from drpo.commands.viewing import serve_page

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]


def serve(folder: Path) -> str:
    """Serve a directory from a thread that ends with the process, and return its address."""
    found: list[str] = []
    ready = threading.Event()

    def tell(address: str) -> None:
        found.append(address)
        ready.set()

    threading.Thread(target=lambda: serve_page(folder, port=0, say=lambda text: None, ready=tell), daemon=True).start()
    assert ready.wait(10)
    return found[0]


def test_the_page_follows_a_growing_run(visit: Callable[..., Any], tmp_path: Path) -> None:
    """New levels and at last the decision appear by themselves; the candidate that is being read stays."""
    whole = minibatch_trace(3, 4)
    (tmp_path / "config.json").write_text(json.dumps(config()))
    address = serve(tmp_path)
    opened = visit(address)
    page = opened.page
    assert page.inner_text("h1") == "Not finished"
    first = {**whole, "nodes": whole["nodes"][:5], "rounds": whole["rounds"][:2], "best": 1, "final": None}
    (tmp_path / "trace.json").write_text(json.dumps(first))
    page.click("#tab-search")
    until_text(page, ".status", "5 candidates")
    page.click("#node-2")
    assert page.inner_text("#detail-heading") == "Candidate 2"
    for name, data in run_files(whole).items():
        (tmp_path / name).write_text(data if isinstance(data, str) else json.dumps(data))
    until_text(page, ".status", "13 candidates")
    until_text(page, "h1", "Improved")
    assert page.inner_text("#detail-heading") == "Candidate 2"
    assert (opened.errors, opened.violations()) == ([], [])
    assert all(url.startswith(address) for url in opened.requests)


def test_another_page_gets_nothing(visit: Callable[..., Any], chromium: Any, tmp_path: Path) -> None:
    """A page of another origin on the same machine can neither read the data nor make the server act."""
    (tmp_path / "config.json").write_text(json.dumps(config()))
    address = serve(tmp_path)

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>other</title>")

        def log_message(self, *arguments: Any) -> None:
            pass

    other = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{other.server_port}/")
        for options in ("{}", "{mode: 'no-cors'}", "{method: 'POST', mode: 'no-cors'}"):
            answer = page.evaluate(
                f"fetch('{address}data', {options}).then(reply => reply.text()).catch(error => 'refused')"
            )
            assert answer in ("refused", "")
        page.close()
    finally:
        other.shutdown()
        other.server_close()

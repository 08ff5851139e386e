"""The page as text: one file, one script, one style, nothing that a text could become."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_runs import hostile, minibatch_trace, run_files

from drpo.reports.bundle import bundled
from drpo.reports.page import assets, embedded, page_from_data
from drpo.reports.run_view import run_view

DATA = re.compile(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', re.DOTALL)
PAGE = resources.files("drpo.reports").joinpath("page")
SCRIPTS = [one for one in PAGE.iterdir() if one.name.endswith(".js")]


def blocks(page: str) -> dict[str, Any]:
    return {name: json.loads(text) for name, text in DATA.findall(page)}


def test_nothing_is_lost_in_the_blocks() -> None:
    """All of a view is in its page, the nodes' texts in blocks of their own."""
    view = run_view(run_files(minibatch_trace(20, 6)), title="run")
    found = blocks(page_from_data(view))
    details = [node for name, block in found.items() if name.startswith("details-") for node in block]
    assert details == view["details"]
    assert len([name for name in found if name.startswith("details-")]) == 3
    assert (found["final"], found["ledger"]) == (view["final"], view["ledger"])
    rest = {key: value for key, value in view.items() if key not in ("details", "final", "ledger")}
    assert found["view"] == {**rest, "live": False}


def test_no_text_ends_its_block() -> None:
    """A page with attacks in all of its texts has the same elements as one without."""
    calm, attacked = (page_from_data(run_view(files, title="run")) for files in
                      (run_files(minibatch_trace(2, 3)), hostile(run_files(minibatch_trace(2, 3)))))  # fmt: skip
    outside = [DATA.sub("", page) for page in (calm, attacked)]
    assert outside[0] == outside[1]
    assert blocks(attacked)


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_embedded_data_come_back_and_hold_no_bracket(data: Any) -> None:
    """Whatever is embedded is the same JSON, lone surrogates included, and cannot open or close an element."""
    text = embedded(data)
    assert "<" not in text
    assert json.loads(text) == json.loads(json.dumps(data))


def test_half_of_a_surrogate_pair_is_embedded() -> None:
    """A model can write one; the page must still be made."""
    assert json.loads(embedded(["\ud800<"])) == ["\ud800<"]


@pytest.mark.parametrize("live", [False, True])
def test_the_policy_allows_this_script_and_this_style_alone(live: bool) -> None:
    """Their hashes are those of the elements; requests are allowed to a live page's own server only."""
    page = page_from_data({"title": "a", "nodes": []}, live=live)
    policy = dict(
        rule.split(" ", 1)
        for rule in re.search(r'Content-Security-Policy" content="([^"]+)"', page).group(1).split("; ")
    )
    for element, rule in (("script", "script-src"), ("style", "style-src")):
        text = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert len(text) == 1
        digest = base64.b64encode(hashlib.sha256(text[0].encode()).digest()).decode()
        assert policy[rule] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert policy.get("connect-src") == ("'self'" if live else None)
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_no_script_makes_markup_or_asks_another_server(file: Any) -> None:
    """Text gets into the page as text: nothing of ours parses a string, and only the live page fetches, from its own."""
    text = file.read_text(encoding="utf-8")
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|setAttributeNS"
    )
    assert re.search(forbidden, text) is None
    urls = set(re.findall(r"https?://[^\s\"']+", text)) - {"http://www.w3.org/2000/svg"}
    assert urls == set()
    assert ("fetch(" in text) == (file.name == "live.js")


def test_the_style_asks_nobody() -> None:
    """No image, no font, no other style."""
    assert re.search(r"url\(|@import|https?:", assets()[1]) is None


def test_modules_are_joined_in_the_order_of_their_imports() -> None:
    """What a module imports stands before it; a circle and what would end the script are refused."""
    script = bundled(
        {"a.js": 'import { b } from "./b.js";\nimport { c } from "./c.js";\n', "b.js": 'import { c } from "./c.js";\nexport const b = c;\n',
         "c.js": "export const c = 1;\n"}, entry="a.js",
    )  # fmt: skip
    assert re.findall(r"const (\w)_js", script) == ["c", "b", "a"]
    with pytest.raises(ValueError, match="circle"):
        bundled({"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}, entry="a.js")
    with pytest.raises(ValueError, match="end its element"):
        bundled({"a.js": 'const a = "</script>";\n'}, entry="a.js")

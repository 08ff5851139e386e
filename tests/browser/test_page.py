"""The page in a real Chromium: used by keys and clicks alone, attacked, read by axe, and filled with 5,000 nodes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import PHONE, SIZES, serious_faults, until, until_text
from page_runs import ATTACK, hostile, minibatch_trace, run_files

from drpo.commands.viewing import write_page

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

TABS = ("overview", "search", "criteria", "held-out", "cost", "about")


def focused(page: Any, selector: str) -> bool:
    found: bool = page.evaluate("(selector) => document.activeElement.matches(selector)", selector)
    return found


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        if focused(page, selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{selector} cannot be reached by Tab")


def look_everywhere(page: Any) -> None:
    """Open every tab and everything in it that opens, by clicks."""
    for name in TABS:
        page.click(f"#tab-{name}")
        page.wait_for_selector(f"#panel-{name}:not([hidden])")
        for summary in page.query_selector_all(f"#panel-{name} details > summary"):
            if summary.is_visible():
                summary.click()
        for button in page.query_selector_all(f"#panel-{name} .choice button"):
            if button.is_visible():
                button.click()


def test_the_keyboard_alone_reads_a_run(show: Callable[..., Any]) -> None:
    """Tabs, tree, panel, search, help and colours all work without a pointer, and the focus is always to be seen."""
    opened = show(run_files(minibatch_trace(4, 6)))
    page = opened.page
    page.keyboard.press("2")
    assert focused(page, "#tab-search")
    tab_to(page, "[role=tree]")
    assert page.inner_text("#detail-heading") == "Candidate 19"  # the best one
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#detail-heading") == "Candidate 13"
    assert page.get_attribute("[role=tree]", "aria-activedescendant") == "node-13"
    assert page.get_attribute("#node-13", "aria-selected") == "true"
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#detail-heading") == "Candidate 15"  # the next one below: those of one parent lie together
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#detail-heading") == "Candidate 19"
    page.keyboard.press("Home")
    assert page.inner_text("#detail-heading") == "The seed"
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert focused(page, "#detail-heading")
    page.keyboard.press("Escape")
    assert focused(page, "[role=tree]")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("/")
    assert focused(page, "#search")
    page.keyboard.type("#7")
    page.keyboard.press("Enter")
    assert page.inner_text(".status") == "1 of 25 candidates"
    assert page.inner_text("#detail-heading") == "Candidate 7"
    page.keyboard.press("Escape")
    assert page.inner_text(".status") == "25 candidates"
    tab_to(page, "[role=tree]")
    page.keyboard.press("?")
    assert page.is_visible("dialog")
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog")
    page.keyboard.press("d")
    assert page.get_attribute("html", "data-theme") == "dark"
    assert opened.errors == []


def test_search_finds_texts_and_filters_keep_the_way_to_each(show: Callable[..., Any]) -> None:
    """A word of an answer or a reason finds its candidates; what is shown is they and their ancestors."""
    trace = minibatch_trace(3, 5)
    trace["nodes"][9]["evaluations"][0]["answer"] = "The Quagga is extinct."
    trace["nodes"][12]["evaluations"][0]["scores"][0]["rationale"] = "mentions no quagga"
    page = show(run_files(trace)).page
    page.click("#tab-search")
    page.fill("#search", "quagga")
    until_text(page, ".status", "2 of 16 candidates")
    shown = page.eval_on_selector_all("[role=treeitem]:not(.is-dim)", "cards => cards.map(card => card.id)")
    assert sorted(shown) == ["node-12", "node-9"]
    assert page.query_selector("#node-0.is-dim") is not None  # the way there
    page.fill("#search", "")
    page.click(".toolbar button:text('Best path')")
    until_text(page, ".status", "4 of 16 candidates")
    page.fill("#search", "no such word anywhere")
    until(page, "document.body.innerText.includes('Nothing matches')")


def test_the_diff_shows_words_added_and_taken_away(show: Callable[..., Any]) -> None:
    """Against its parent, against the seed, and the text itself."""
    trace = minibatch_trace(2, 2)
    texts = ["You are a helpful assistant.", "You are a calm assistant.", "x", "You are a calm, brief assistant.", "y"]
    for node, text in zip(trace["nodes"], texts, strict=True):
        node["instructions"] = {"respond": text}
    page = show(run_files(trace)).page
    page.click("#tab-search")
    panel = page.locator(".detail")
    assert panel.locator("ins").all_inner_texts() == [", brief"]
    assert panel.locator("del").count() == 0
    panel.get_by_text("Changes from the seed").click()
    assert panel.locator("del").all_inner_texts() == ["helpful"]
    assert panel.locator("ins").all_inner_texts() == ["calm, brief"]
    panel.get_by_role("button", name="Text", exact=True).click()
    assert panel.locator("ins, del").count() == 0


def test_a_hostile_trace_does_nothing(show: Callable[..., Any]) -> None:
    """Markup, scripts, links and styles in every field: nothing runs, nothing is asked for, nothing even needs stopping."""
    opened = show(hostile(run_files(minibatch_trace(3, 5))))
    page = opened.page
    look_everywhere(page)
    page.click("#tab-search")
    page.fill("#search", "<script>")
    page.wait_for_timeout(400)
    assert page.evaluate("window.hacked") is None
    assert [url for url in opened.requests if not url.startswith("file://")] == []
    assert len(opened.requests) == 1
    assert (opened.violations(), opened.dialogs, opened.errors) == ([], [], [])
    assert page.evaluate("document.querySelectorAll('img,iframe,object,embed,link,base,form,svg[onload]').length") == 0
    assert page.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))") == ["#main"]
    assert page.evaluate("document.querySelectorAll('script:not([type])').length") == 1
    assert page.evaluate("document.querySelectorAll('style').length") == 1
    page.click("#tab-overview")
    assert ATTACK[:40] in page.inner_text("#panel-overview")  # shown as what it is


def test_the_policy_would_stop_what_gets_through(show: Callable[..., Any]) -> None:
    """Even if a line of ours made markup of a text, no script would run and no request leave."""
    opened = show(run_files(minibatch_trace(2, 2)))
    page = opened.page
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<img src=x>'")
    page.evaluate("fetch('http://127.0.0.1:9/x').catch(() => {})")
    page.evaluate(
        "() => { const image = document.createElement('img'); image.src = 'http://127.0.0.1:9/y'; document.body.append(image); }"
    )
    page.wait_for_timeout(300)
    assert set(opened.violations()) >= {"connect-src", "img-src"}
    stopped = [url for url in opened.requests if not url.startswith("file://")]
    assert opened.failures == ["csp"] * len(stopped)  # none of them left the browser


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_axe_finds_no_serious_fault(show: Callable[..., Any], size: dict[str, int], colours: str) -> None:
    """Every tab, with an answer open, in both colours and both widths; and nothing is wider than the screen."""
    page = show(run_files(minibatch_trace(4, 6)), size=size, colours=colours).page
    found = {}
    for name in TABS:
        page.click(f"#tab-{name}")
        summary = page.query_selector(f"#panel-{name} details.answer > summary")
        if summary is not None:
            summary.click()
        found |= {f"{name}: {fault}": nodes for fault, nodes in serious_faults(page).items()}
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
    assert found == {}


def test_five_thousand_nodes_open_within_two_seconds(show: Callable[..., Any], record_property: Any) -> None:
    """From the address to the drawn page, from the click to the tree, and from a word to what it finds; best of three."""
    files = run_files(minibatch_trace(100, 50, queries=4, words=150))
    assert len(files["trace.json"]["nodes"]) == 5001
    opening, drawing, finding = [], [], []
    for _ in range(3):
        begin = time.perf_counter()
        page = show(files).page
        page_time = page.evaluate("performance.timing.domComplete - performance.timing.navigationStart")
        opening.append(page_time / 1000)
        begin = time.perf_counter()
        page.click("#tab-search")
        page.wait_for_selector("#node-4951")
        drawing.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        page.fill("#search", "plainly name the")
        until(page, "/ of 5001 candidates/.test(document.querySelector('.status').textContent)")
        finding.append(time.perf_counter() - begin)
        assert page.evaluate("document.querySelectorAll('[role=treeitem]').length") < 400
        page.context.close()
    seconds = {"open": min(opening), "tree": min(drawing), "search": min(finding)}
    print(", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))
    assert max(seconds.values()) < 2.0, seconds


def test_scrolling_far_draws_what_is_there(show: Callable[..., Any]) -> None:
    """Of thousands of candidates only those in sight are in the document, wherever that is; columns stay on one band."""
    page = show(run_files(minibatch_trace(60, 40, queries=1, words=5))).page
    page.click("#tab-search")
    page.evaluate("document.querySelector('[role=tree]').scrollTo(30 * 158, 400)")
    until(page, "[...document.querySelectorAll('.card')].some(card => card.ariaLevel === '33')")
    assert page.evaluate("document.querySelectorAll('.card').length") < 400


def test_the_page_of_a_real_run_opens(visit: Callable[..., Any], tmp_path: Path) -> None:
    """What `drpo compile` leaves behind, in both modes, from its directory to the last tab."""
    import dspy

    import drpo
    from drpo.serving.engine import build_lm
    from drpo.serving.settings import LMSettings
    from drpo.serving.simulated.world import World

    def simulated(role: str) -> dspy.BaseLM:
        return build_lm(LMSettings(model=f"sim/{role}"), world=World.named("weak-base"))

    examples = [dspy.Example(query=f"How does number {place} work?").with_inputs("query") for place in range(40)]
    for auto, size in (("light", None), ("paper", PHONE)):
        run = tmp_path / auto
        drpo.DRPOTeleprompter(
            task_lm=simulated("base"), judge_lm=simulated("judge"), prompt_lm=simulated("prompt"), auto=auto,
            depth=3, n_actions=3, log_dir=run, num_threads=1, display_progress=False,
        ).compile(drpo.Responder(), trainset=examples, valset=examples[:10] if auto == "paper" else None)  # fmt: skip
        opened = visit(write_page(run, None).as_uri(), **({"size": size} if size else {}))
        look_everywhere(opened.page)
        assert (opened.errors, opened.violations(), len(opened.requests)) == ([], [], 1)

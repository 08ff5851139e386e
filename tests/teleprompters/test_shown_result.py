"""A result in a notebook: words and tables, model text as text, and a plain dict to everything else."""

from __future__ import annotations

import copy
import json
import pickle
from html.parser import HTMLParser

import orjson
import pytest
from contract_programs import examples
from contract_world import World

from drpo import Responder
from drpo.teleprompters.shown_result import ShownResult

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J"


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def result() -> ShownResult:
    found = World().compile(Responder("question -> answer"), display_progress=False).drpo_result
    assert isinstance(found, ShownResult)
    return found


def test_it_is_the_dict_that_it_was(result: ShownResult) -> None:
    """Equal to a dict, and as JSON, by pickle and as a copy the same."""
    plain = dict(result)
    assert result == plain
    assert json.loads(json.dumps(result)) == json.loads(orjson.dumps(result)) == json.loads(json.dumps(plain))
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert (type(again), again) == (ShownResult, plain)


def test_a_notebook_shows_words_and_what_it_took(result: ShownResult) -> None:
    """The verdict, the instruction and a row per role; tags are closed as they were opened."""
    page = result._repr_html_()
    seen = Seen()
    seen.feed(page)
    assert seen.open == []
    assert seen.tags.count("tr") == 5
    assert "No held-out prompts were given" in page
    assert "world/judge" in page


def test_what_a_model_wrote_is_text(result: ShownResult) -> None:
    """No tag comes from a model, wherever its words stand."""
    hostile = ShownResult(
        {**result, "instructions": {HOSTILE: HOSTILE}, "models": dict.fromkeys(result["models"], HOSTILE)}
    )
    seen, before = Seen(), Seen()
    seen.feed(hostile._repr_html_())
    before.feed(result._repr_html_())
    assert set(seen.tags) == set(before.tags)
    assert "\x1b" not in hostile._repr_html_()


def test_a_result_that_was_changed_is_shown_as_a_dict() -> None:
    """Without what the words need a notebook falls back on the plain form, and nothing is raised."""
    assert ShownResult(decision="improved")._repr_html_() is None


def test_a_default_run_is_shown_with_its_parts() -> None:
    """The default mode's verdict and notes stand there too, and that a world was simulated."""
    program = (
        World()
        .optimizer(auto="light", depth=1, max_depth_increase=None, num_threads=1)
        .compile(Responder("question -> answer"), trainset=examples(12))
    )
    assert "<b>" in program.drpo_result._repr_html_()

"""The pages of a comparison, a judge card and an evaluation, from files of their fixed keys."""

from __future__ import annotations

from typing import Any

from page_runs import ATTACK, hostile

from drpo.reports.page import page_from_data
from drpo.reports.report_views import judge_card_view

MEASURE = {
    "name": "ties", "title": "ties", "light": "amber", "value": 0.4, "interval": [0.2, 0.6], "count": 20,
    "says": "Two samples tie.", "decides": True, "bounds": {"green": 0.3, "red": None}, "details": {}, "may_be_luck": True,
}  # fmt: skip


def card(**changes: Any) -> dict[str, Any]:
    return {
        "format": 1, "judge": {"model": "sim/judge"}, "date": "2026-01-01", "num_prompts": 20, "num_labels": 0,
        "simulated": False, "lm_calls": {"judge": 300}, "tokens": {"judge": 9000}, "light": "amber", "faults": [],
        "measures": [MEASURE, {**MEASURE, "name": "people", "light": "unknown", "value": None, "interval": None}],
        **changes,
    }  # fmt: skip


def test_each_measure_has_its_light_and_its_sentence() -> None:
    """A light is a state in words, so that the page need not tell by colour; what was not measured says so."""
    view = judge_card_view(card(), title="card")
    rows = view["tabs"][0]["sections"][0]["rows"]
    assert [row["state"] for row in rows] == ["warn", "unknown"]
    assert rows[1]["label"] == "ties: not measured"
    assert view["headline"] == "Usable, with care"


def test_texts_of_a_report_are_texts() -> None:
    """An attack in every text of a card changes nothing but the data of its page."""
    attacked = hostile(card(measures=[MEASURE]))
    attacked["light"] = "amber"
    page = page_from_data(judge_card_view(attacked, title=ATTACK))
    assert page.count("<script") == page_from_data(judge_card_view(card(), title="card")).count("<script")
    assert "<img" not in page

"""What the pages of a comparison, a judge card and an evaluation show, as plain data: the same figures as their tables.

Each takes what the file of fixed keys says and returns a page of the kind "report": a head, and tabs of sections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..teleprompters.judge_card_files import by_luck
from .comparison import VERDICTS, leading_pairs, ranked
from .comparison import notes as comparison_notes
from .evaluation import notes as evaluation_notes
from .sections import (
    Light,
    Section,
    facts,
    intervals,
    lights,
    lines,
    matrix,
    number,
    shown,
    signed,
    table,
    text_section,
)
from .summary import SIMULATED_BANNER

_LIGHTS: Mapping[str, Light] = {"green": "good", "amber": "warn", "red": "bad"}


def comparison_view(result: Mapping[str, Any], *, title: str) -> dict[str, Any]:
    """Return what the page of a comparison shows.

    Args:
        result: What `comparison.json` says.
        title: What it is called.
    """
    entrants = ranked(result)
    leading = leading_pairs(result)
    best = entrants[0][0]
    count = len(result["seeds"])
    figures = facts(
        [
            ("budget", f"{result['budget']:,}", "LM calls of each optimizer"),
            ("seeds", str(count), "runs of each optimizer"),
            ("train prompts", str(result["num_train"]), "which every optimizer sees"),
            ("test prompts", str(result["num_test"]), "which none of them sees"),
        ]
    )
    sections = [
        _spans("Reward on the test prompts", [(name, one["reward"], one["reward_ci"], one["queries"])
                                              for name, one in entrants], zero=False),
        _spans("Gain over your program", [(name, one["gain"], one["gain_ci"], one["queries"])
                                          for name, one in entrants if name != "seed"]),
    ]  # fmt: skip
    if leading:
        name, pairs = leading
        rows = [(f"{name} minus {pair['other']}", pair["difference"], pair["ci"], pair["queries"]) for pair in pairs]
        sections.append(_spans(f"How {name} stands against each other one", rows))
    return _report(
        title=title,
        simulated=result["simulated"],
        headline=f"{shown(best)} has the highest reward",
        verdict="Mean reward on the same test prompts, with 95 % intervals over prompts.",
        notes=comparison_notes(result),
        facts=figures["items"],
        tabs=[
            ("Rewards", [*sections, _entrants_table(entrants, simulated=result["simulated"])]),
            ("Pairs", [_pair_matrix(entrants, result["pairs"]), _pairs_table(result["pairs"])]),
            ("Instructions", [text_section(f"{name}, seed {row['seed']}", _instructions(row))
                              for name, one in entrants for row in one["by_seed"] if row["instructions"]]),
            ("Settings", [_settings_table(entrants)]),
        ],
    )  # fmt: skip


def judge_card_view(card: Mapping[str, Any], *, title: str) -> dict[str, Any]:
    """Return what the page of a judge card shows.

    Args:
        card: What `judge-card.json` says.
        title: What it is called.
    """
    measures = card["measures"]
    shown_lights: list[tuple[Light, str, str]] = [
        (_LIGHTS.get(one["light"], "unknown"), f"{one['title']}: {_figure(one)}", one["says"]) for one in measures
    ]
    rows = [
        [one["title"], one["light"], number(one["value"]), _ends(one["interval"]), number(one["count"]),
         _bounds(one["bounds"])]
        for one in measures
    ]  # fmt: skip
    headings = ["measure", "light", "value", "95 % interval", "n", "bounds"]
    words = {"green": "Nothing speaks against this judge", "amber": "Usable, with care", "red": "Not to be trusted yet"}
    calls = sum(card["lm_calls"].values())
    return _report(
        title=title,
        simulated=card["simulated"],
        headline=words.get(card["light"], "Nothing could be measured"),
        tone={"green": "good", "red": "bad"}.get(card["light"], "neutral"),
        verdict=f"Judge {shown(card['judge']['model'])}, on {card['num_prompts']} prompts"
        + (f", {card['date']}" if card["date"] else "") + ".",
        notes=[*(f"Fault: {fault}" for fault in card["faults"]), *by_luck(card)],
        facts=facts([("calls", f"{calls:,}", "all roles together"),
                     ("human labels", str(card["num_labels"]), "")])["items"],
        tabs=[
            ("Lights", [lights("What was measured", shown_lights)]),
            ("Figures", [table("Figures and bounds", headings, rows)]),
        ],
    )  # fmt: skip


def evaluation_view(result: Mapping[str, Any], *, title: str) -> dict[str, Any]:
    """Return what the page of an evaluation shows.

    Args:
        result: What `evaluation.json` says.
        title: What it is called.
    """
    comparison, programs = result["comparison"], result["programs"]
    sections: list[Section] = []
    for program in programs:
        marks = [(name, one["mean"], [one["low"], one["high"]], one["n"]) for name, one in _aspects(program)]
        sections.append(_spans(f"Marks of {program['name']}, 1 to 5", marks, zero=False))
    if comparison is not None:
        differences = [(name, one["difference"], [one["low"], one["high"]], one["n"])
                       for name, one in comparison["aspects"].items()]  # fmt: skip
        controlled = [(name, one["length_controlled"]) for name, one in comparison["aspects"].items()]
        equal = [(name, one["mean"], [one["low"], one["high"]], one["count"]) for name, one in controlled if one]
        sections = [
            _spans("Difference, second minus first", differences),
            _spans("The same at equal length of the answers", equal),
            *sections,
        ]
    groups = [section for program in programs for section in _groups(program)]
    texts = [text_section(f"{program['name']}: {name}", text)
             for program in programs for name, text in program["instructions"].items()]  # fmt: skip
    version = result["suite_version"]
    headline = f"{programs[-1]['name']}, {result['suite']}"
    if comparison is not None:
        headline = f"{comparison['second']} beside {comparison['first']}"
    return _report(
        title=title,
        simulated=result["simulated"],
        headline=shown(headline),
        verdict=f"{version['num_queries']:,} queries, judge {shown(result['judge']['model'])}, "
        f"{shown(result['date'])}.",
        notes=evaluation_notes(dict(result)),
        facts=facts([("calls", f"{sum(result['lm_calls'].values()):,}", "all roles together"),
                     ("rubric", version["rubric"][:8], "digest: equal ones compare"),
                     ("queries", version["queries"][:8], "digest: equal ones compare")])["items"],
        tabs=[("Marks", sections), ("Groups", groups), ("Instructions", texts)],
    )  # fmt: skip


def _report(
    *,
    title: str,
    simulated: bool,
    headline: str,
    verdict: str,
    notes: Sequence[str],
    facts: Sequence[Any],
    tabs: Sequence[tuple[str, Sequence[Section]]],
    tone: str = "neutral",
) -> dict[str, Any]:
    worth = [lines("Worth knowing", notes)] if notes else []
    filled = [(label, list(sections)) for label, sections in tabs if sections]
    label, first = filled[0]
    return {
        "kind": "report",
        "title": shown(title),
        "banner": SIMULATED_BANNER if simulated else "",
        "headline": headline,
        "tone": tone,
        "verdict": verdict,
        "gain": None,
        "facts": list(facts),
        "finished": True,
        "tabs": [
            {"label": label, "sections": [*first, *worth]},
            *({"label": label, "sections": sections} for label, sections in filled[1:]),
        ],
    }


def _spans(title: str, rows: Sequence[tuple[str, Any, Any, Any]], *, zero: bool = True) -> Section:
    """Return means with the ends of their intervals; None where there is no mean."""
    found = [
        (name, None if mean is None else {"mean": mean, "low": ends and ends[0], "high": ends and ends[1], "count": n})
        for name, mean, ends, n in rows
    ]
    return intervals(shown(title), found, zero=zero)


def _entrants_table(entrants: Sequence[tuple[str, Mapping[str, Any]]], *, simulated: bool) -> Section:
    names = ["true_gain"] if simulated else []
    columns = [
        "",
        "verdict",
        "calls",
        "tokens",
        "seconds",
        "cost",
        "words",
        "demos",
        "failed",
        *(["true gain"] if simulated else []),
    ]
    rows = [
        [
            name, VERDICTS.get(one["verdict"], one["verdict"]),
            *(number(one[key]) for key in ("calls", "tokens", "seconds", "cost", "instruction_words", "demos")),
            one["failures"], *(number(one[key]) for key in names),
        ]
        for name, one in entrants
    ]  # fmt: skip
    return table("What each took and returned, means over seeds", columns, rows)


def _pair_matrix(entrants: Sequence[tuple[str, Any]], pairs: Sequence[Mapping[str, Any]]) -> Section:
    names = [name for name, _ in entrants if name != "seed"]
    found = {(pair["first"], pair["second"]): pair["difference"] for pair in pairs}

    def difference(one: str, other: str) -> float | None:
        if (forward := found.get((other, one))) is not None:
            return float(forward)
        back = found.get((one, other))
        return None if back is None else -float(back)

    values = [[difference(one, other) for other in names] for one in names]
    most = max((abs(value) for row in values for value in row if value is not None), default=0.0) or 0.01
    return matrix(
        "Reward of the row minus that of the column", rows=names, columns=names, values=values, low=-most, high=most
    )


def _pairs_table(pairs: Sequence[Mapping[str, Any]]) -> Section:
    rows = [
        [pair["second"], pair["first"], None if pair["difference"] is None else signed(pair["difference"]),
         _ends(pair["ci"]), pair["queries"], VERDICTS.get(pair["verdict"], pair["verdict"])]
        for pair in pairs
    ]  # fmt: skip
    return table("Every pair", ["first", "second", "first minus second", "95 % interval", "queries", "verdict"], rows)


def _settings_table(entrants: Sequence[tuple[str, Mapping[str, Any]]]) -> Section:
    rows = [
        [name, row["seed"], ", ".join(f"{key}={value}" for key, value in (row["settings"] or {}).items())]
        for name, one in entrants
        for row in one["by_seed"]
        if one["kind"] == "optimizer"
    ]
    return table("Settings, solved from the budget", ["optimizer", "seed", "settings"], rows)


def _instructions(row: Mapping[str, Any]) -> str:
    return "\n\n".join(f"[{name}]\n{text}" for name, text in row["instructions"].items())


def _aspects(program: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    overall = [("overall", program["overall"])] if program["overall"] else []
    return [*overall, *program["aspects"].items()]


def _groups(program: Mapping[str, Any]) -> list[Section]:
    return [
        table(
            f"{program['name']} by {column}",
            [column, "aspect", "mean", "95 % interval", "n"],
            [
                [value, name, number(one["mean"]), _ends([one["low"], one["high"]]), one["n"]]
                for value, aspects in groups.items()
                for name, one in aspects.items()
            ],
        )
        for column, groups in program["groups"].items()
    ]


def _figure(measure: Mapping[str, Any]) -> str:
    value = number(measure["value"])
    return "not measured" if value is None else f"{value:.3g}"


def _ends(ends: Sequence[float | None] | None) -> str | None:
    if not ends or ends[0] is None or ends[1] is None:
        return None
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def _bounds(bounds: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{light} {bound}" for light, bound in (bounds or {}).items())

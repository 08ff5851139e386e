"""What the page of a run shows, as plain data: the files of a run directory, read and put in words.

Everything the page says in figures or sentences is decided here; the page draws it. An unfinished run has fewer files,
and each part of the page says what is not known yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..teleprompters.verdict import notes, verdict
from .fates import fates
from .sections import Section, facts, intervals, number, shown, signed, table, text_section
from .summary import ABLATION, SIMULATED_BANNER
from .trace_nodes import TraceNodes

PARTS = {"seed": "your program", "instruction": "new instruction", "demonstrations": "demonstrations", "both": "both"}
"""The finalists in short."""
UNKNOWN = "\u2014"
"""What stands where there is no figure."""
ROLES = ("task", "judge", "criteria", "prompt")
"""The roles, in the order that the page lists them."""


def run_view(files: Mapping[str, Any], *, title: str) -> dict[str, Any]:
    """Return what the page of a run shows.

    Args:
        files: By name, as far as they are there: `config.json`, `trace.json`, `result.json`, `bill.json`,
            `ledger.json` and `program.json` as JSON data, `log.txt` as text, and under `usage` what an unfinished run
            has used by role.
        title: What the run is called.
    """
    config, result = files.get("config.json") or {}, files.get("result.json")
    trace = files.get("trace.json")
    bill = files.get("bill.json") or {}
    known = {**result, "bill": bill or {"roles": {}}} if result else None
    nodes = TraceNodes(trace) if trace else None
    summaries = nodes.summaries() if nodes else []
    for summary, fate in zip(summaries, fates(trace or {}, summaries), strict=True):
        summary["fate"] = fate
    details = nodes.details() if nodes else []
    final = _finalists(nodes, (trace or {}).get("final"))
    return {
        "kind": "run",
        "title": shown(title),
        "finished": result is not None,
        "mode": "paper" if nodes and nodes.paper else "default",
        "banner": SIMULATED_BANNER if _simulated(config, result) else "",
        **_head(known),
        "levels": _levels(trace, nodes),
        "best": (trace or {}).get("best"),
        "instructions": _instructions(config, result, details),
        "criteria": nodes.criteria.texts if nodes else [],
        "queries": nodes.queries.texts if nodes else [],
        "nodes": summaries,
        "details": details,
        "final": final,
        "ledger": _ledger(files.get("ledger.json"), nodes),
        "held_out": _held_out(known),
        "cost": _cost(bill.get("roles") or files.get("usage") or {}, bill, result),
        "about": _about(config, result, files.get("log.txt")),
    }


def _head(result: dict[str, Any] | None) -> dict[str, Any]:
    """Return the decision, in a word and in a sentence."""
    if result is None:
        return {
            "headline": "Not finished",
            "tone": "open",
            "verdict": "The run has no result yet. What it has found so far is below; `drpo resume` goes on with it.",
            "notes": [],
            "gain": None,
            "facts": [],
        }
    decision, gain = result["decision"], number(result.get("gain"))
    headline = {"improved": "Improved", "no_gain": "No significant gain"}.get(str(decision), "Not compared")
    low, high = result.get("gain_ci") or (None, None)
    return {
        "headline": headline,
        "tone": {"improved": "good", "no_gain": "neutral"}.get(str(decision), "open"),
        "verdict": shown(verdict(result)),
        "notes": [shown(line) for line in notes(result)],
        "gain": None if gain is None else {"mean": gain, "low": number(low), "high": number(high)},
        "facts": _facts(result)["items"],
    }


def _facts(result: dict[str, Any]) -> Section:
    before, after = number(result.get("seed_reward")), number(result.get("reward"))
    costs = list(result["cost"].values())
    cost = None if None in costs or not any(costs) else f"${sum(costs):.4f}"
    items = [
        ("reward before", UNKNOWN if before is None else f"{before:.3f}", "mean on held-out prompts, 0 to 1"),
        ("reward after", UNKNOWN if after is None else f"{after:.3f}", "mean on held-out prompts, 0 to 1"),
        ("held-out prompts", str(result["num_val"]), f"{result['num_train']} for the search"),
        ("calls", f"{sum(result['lm_calls'].values()):,}", f"{sum(result['tokens'].values()):,} tokens"),
        ("cost", cost or "unknown", "all roles together" if cost else "none of these models has a price"),
    ]
    true = number(result.get("true_gain"))
    if true is not None:
        items.append(("true gain", signed(true), "which only a simulated world can tell"))
    return facts(items)


def _simulated(config: Mapping[str, Any], result: Mapping[str, Any] | None) -> bool:
    if result is not None:
        return bool(result.get("simulated"))
    models = [str(lm.get("model", "")) for lm in (config.get("lms") or {}).values() if isinstance(lm, Mapping)]
    return any(model.startswith("sim/") or "/sim/" in model for model in models)


def _levels(trace: Mapping[str, Any] | None, nodes: TraceNodes | None) -> list[dict[str, Any]]:
    """Return what the best candidate after each level was worth; of paper mode the page reads it from the nodes."""
    if trace is None or nodes is None or nodes.paper:
        return []
    return [
        {
            "level": int(one["level"]),
            "leader": int(one["leader"]),
            "value": number(one.get("values", {}).get(str(one["leader"]))),
        }
        for one in trace.get("rounds") or []
    ]


def _instructions(
    config: Mapping[str, Any], result: Mapping[str, Any] | None, details: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the instructions before and, once it is known, after."""
    before = (config.get("student") or {}).get("instructions") or (details[0]["instructions"] if details else {})
    after = (result or {}).get("instructions")
    return {
        "seed": {shown(name): shown(text) for name, text in before.items()},
        "final": {shown(name): shown(text) for name, text in after.items()} if after else None,
    }


def _finalists(nodes: TraceNodes | None, final: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the seed and the finalists with their answers to the held-out queries."""
    if nodes is None or not final:
        return []
    return [
        {
            "part": PARTS.get(str(one.get("part")), shown(one.get("part"))),
            "winner": place == final.get("winner"),
            "instructions": {shown(name): shown(text) for name, text in one["instructions"].items()},
            "evaluations": nodes.read(one["evaluations"]),
        }
        for place, one in enumerate(final["finalists"])
    ]


def _ledger(ledger: Mapping[str, Any] | None, nodes: TraceNodes | None) -> dict[str, Any]:
    """Return by number of the query why its criteria were chosen."""
    if not ledger or nodes is None:
        return {}
    known = {text: place for place, text in enumerate(nodes.queries.texts)}
    return {
        str(known[query]): {
            "analysis": shown(entry.get("analysis")),
            "criteria": [
                [
                    shown(one.get("name")),
                    number(one.get("weight")),
                    shown(one.get("definition")),
                    shown(one.get("reason")),
                ]
                for one in entry.get("criteria") or []
            ],
        }
        for entry in ledger.get("entries") or []
        if (query := shown(entry.get("query"))) in known
    }


def _held_out(result: Mapping[str, Any] | None) -> list[Section]:
    if result is None or not result.get("ablation"):
        return []
    rows = [(words, result["ablation"][part]) for part, words in ABLATION.items() if part in result["ablation"]]
    return [
        intervals(
            "What each part gains beside your program",
            rows,
            note="Mean paired difference of rewards on held-out prompts, with its 95 % interval. "
            "What drops out early is judged on few prompts.",
        )
    ]


def _cost(
    roles: Mapping[str, Mapping[str, Any]], bill: Mapping[str, Any], result: Mapping[str, Any] | None
) -> list[Section]:
    """Return what each role used."""
    if not roles:
        return []
    names = [*(name for name in ROLES if name in roles), *(name for name in roles if name not in ROLES)]
    counts = ("calls", "prompt_tokens", "completion_tokens", "errors", "truncated", "given_up")
    kept = [name for name in counts if name in counts[:3] or any(roles[role].get(name) for role in names)]
    words = {
        "calls": "calls", "prompt_tokens": "tokens read", "completion_tokens": "tokens written",
        "errors": "tries that failed", "truncated": "cut off", "given_up": "given up",
    }  # fmt: skip
    seconds = "simulated seconds" if (result or {}).get("simulated") else "seconds"
    rows: list[list[object]] = []
    for role in names:
        used = roles[role]
        rows.append(
            [
                role, used.get("model") or "", *(number(used.get(name)) for name in kept),
                _rounded(used.get("seconds"), 1), _dollars(used.get("cost")),
            ]
        )  # fmt: skip
    if len(rows) > 1:
        sums = [_total(rows, place) for place in range(2, len(rows[0]) - 1)]
        rows.append(["all", "", *sums, _dollars(bill.get("cost"))])
    columns = ["role", "model", *(words[name] for name in kept), seconds, "cost"]
    sections = [table("What each role used", columns, rows, note=_calls_note(bill))]
    kinds: Counter[str] = Counter()
    for used in roles.values():
        kinds.update({str(kind): int(count) for kind, count in (used.get("error_kinds") or {}).items()})
    if kinds:
        sections.append(table("Tries that failed", ["kind", "times"], kinds.most_common()))
    return sections


def _calls_note(bill: Mapping[str, Any]) -> str:
    caps = [shown(cap) for cap in bill.get("caps") or []]
    wall = number(bill.get("wall_seconds"))
    said = [f"The process took {wall:,.1f} seconds." if wall is not None else ""]
    said.append(f"Caps: {'; '.join(caps)}." if caps else "")
    return " ".join(part for part in said if part)


def _total(rows: Sequence[Sequence[object]], place: int) -> float | None:
    amounts = [number(row[place]) for row in rows]
    known = [amount for amount in amounts if amount is not None]
    return round(sum(known), 1) if len(known) == len(amounts) else None


def _rounded(value: object, digits: int) -> float | None:
    known = number(value)
    return None if known is None else round(known, digits)


def _dollars(value: object) -> str:
    known = number(value)
    return "unknown" if known is None else f"${known:.4f}"


def _about(config: Mapping[str, Any], result: Mapping[str, Any] | None, log: object) -> list[Section]:
    """Return the settings, the versions and the log."""
    sections = []
    for title, key in (("The search", "optimizer"), ("The data", "data"), ("The reward", "reward")):
        part = config.get(key)
        if isinstance(part, Mapping) and part:
            rows = [[name, _setting(value)] for name, value in part.items() if value is not None]
            sections.append(table(title, ["setting", "value"], rows))
    models = [
        [role, lm.get("model"), number(lm.get("temperature"))]
        for role, lm in (config.get("lms") or {}).items()
        if isinstance(lm, Mapping)
    ]
    if models:
        sections.append(table("The models", ["role", "model", "temperature"], models))
    if versions := (result or config).get("versions"):
        sections.append(table("Versions", ["package", "version"], [[name, text] for name, text in versions.items()]))
    if log:
        sections.append(text_section("The log", log))
    return sections


def _setting(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = str(value)
    return f"{text[:12]}… (digest)" if len(text) == 64 and all(char in "0123456789abcdef" for char in text) else text

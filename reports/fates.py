"""Why a candidate was kept or cut, in a sentence: read from the trace alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.judgement import LEVELS
from .sections import number, signed


def fates(trace: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return for each node why it was kept or cut.

    Args:
        trace: What `trace.json` says.
        nodes: The summaries of its nodes (`trace_nodes.py`), in its order.
    """
    by_level: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for node in nodes:
        by_level[node["level"]].append(node)
    if trace.get("search") != "minibatch":
        return [_paper(node, by_level[node["level"]]) for node in nodes]
    rounds = [one for one in trace.get("rounds") or [] if isinstance(one, Mapping)]
    return [_default(node, rounds) for node in nodes]


def _paper(node: Mapping[str, Any], level: Sequence[Mapping[str, Any]]) -> str:
    """Paper mode: the nodes of a level are ranked by path value, ties to the earliest."""
    if node["parent"] is None:
        return "Your instruction as it was given: the search begins with it."
    ranked = sorted(level, key=lambda one: -(one["value"] or 0.0))  # stable, as the search's own sort
    rank = next(place for place, one in enumerate(ranked, start=1) if one is node)
    width = sum(one["kept"] for one in level)
    fate = "Kept" if node["kept"] else "Cut"
    said = f"{fate}: rank {rank} of {len(level)} by the mean reward of its path; the beam keeps {width}."
    if node["missing"]:
        said += " Its judgement is missing, so it has its parent's value and passes on unchanged."
    if node["easy"] and node["kept"]:
        said += " The query was answered too well to learn from, so its instruction passes on unchanged."
    return said


def _default(node: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> str:
    one, begun = node["number"], node["level"]
    beams = [finished["level"] for finished in rounds if one in finished.get("beam", ())]
    led = [finished["level"] for finished in rounds if finished.get("leader") == one]
    if node["parent"] is None:
        return "Your instruction as it was given: every other candidate is compared with it."
    if beams:
        said = f"Kept after {_levels(beams)}"
        if led:
            said += f", as the leader after {_levels(led)}"
        left = bool(rounds) and rounds[-1]["level"] not in beams
        return said + ("; later candidates took its place." if left else ".")
    if node["kept"]:  # the trace of an earlier version does not say when
        return "Kept for the next level."
    full = next((finished.get("queries", 0) for finished in rounds if finished["level"] == begun), 0)
    if node["judged"] < full:
        return f"Cut in the race of level {begun}, after {node['judged']} of {full} queries: the better half went on."
    return f"Cut after level {begun}, judged on all of its queries. {_beside_leader(node, rounds)}".rstrip()


def _beside_leader(node: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> str:
    """Return what a candidate was worth beside the leader when its level ended."""
    finished = next((one for one in rounds if one.get("level") == node["level"]), None)
    if finished is None:
        return ""
    values = {key: number(value) for key, value in finished.get("values", {}).items()}
    mine, leaders = values.get(str(node["number"])), values.get(str(finished["leader"]))
    if mine is None or leaders is None:
        return ""
    leader = f"the leader, candidate {finished['leader']}, {signed(leaders / LEVELS)}"
    figures = f"{signed(mine / LEVELS)} beside the seed; {leader}"
    if mine > leaders:
        return f"Then worth {figures}: better by the estimate, but not beyond doubt (paired t-test, 5 %)."
    return f"Then worth {figures}."


def _levels(numbers: Sequence[int]) -> str:
    names = ["the start" if one == 0 else f"level {one}" for one in numbers]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

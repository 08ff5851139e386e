"""The trace of a search: its tree as plain data, and as a page of Markdown that a person can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .beam import Level, Node
from .candidates import Candidate
from .evaluation import Judged

FORMAT = 1
"""Version of `trace.json`."""


def trace_data(levels: Sequence[Level[Candidate]]) -> dict[str, Any]:
    """Return the tree of a search: its nodes in the order they were judged, each with its parent's number.

    Args:
        levels: The levels that `beam_search` has yielded so far, at least one.
    """
    numbers: dict[int, int] = {}
    nodes: list[dict[str, Any]] = []
    best = {id(node) for node in levels[-1].best.path}
    for level in levels:
        kept = {id(node) for node in level.beam}
        for node in level.children or level.beam:
            numbers[id(node)] = len(numbers)
            nodes.append(_node(node, numbers, level=level.number, kept=id(node) in kept, best=id(node) in best))
    return {
        "format": FORMAT,
        "finished": levels[-1].final,
        "depth": levels[-1].depth,
        "best": numbers[id(levels[-1].best)],
        "nodes": nodes,
    }


def trace_markdown(data: dict[str, Any]) -> str:
    """Return the Markdown page of a trace; model text stands in fenced blocks, where no markup of its own is read."""
    lines = ["# Trace", "", f"{len(data['nodes'])} nodes; the best path is marked with *.", ""]
    level = -1
    for node in data["nodes"]:
        if node["level"] != level:
            level = node["level"]
            lines += [f"## Level {level}", "", *_fenced("query", node["query"])]
        mark = "*" if node["best"] else ""
        reward = "missing" if node["reward"] is None else f"{node['reward']:.2f}"
        fate = "kept" if node["kept"] else "dropped"
        parent = "" if node["parent"] is None else f", from node {node['parent']}"
        lines += [f"### Node {node['number']}{mark}: reward {reward}, value {node['value']:.3f}, {fate}{parent}", ""]
        for name, instruction in node["instructions"].items():
            lines += _fenced(f"instruction of {name}", instruction)
        lines += _fenced("answer", node["answer"])
        for score in node["scores"]:
            value = "missing" if score["value"] is None else f"{score['value']}"
            lines += [f"* {_inline(score['criterion'])}: {value}"]
        lines += [""] if node["scores"] else []
        rationales = "\n".join(
            f"{score['criterion']}: {score['rationale']}" for score in node["scores"] if score["rationale"]
        )
        lines += _fenced("reasons", rationales) if rationales else []
        lines += _fenced("error", node["error"]) if node["error"] else []
    return "\n".join(lines) + "\n"


def _node(node: Node[Candidate], numbers: dict[int, int], *, level: int, kept: bool, best: bool) -> dict[str, Any]:
    judged: Judged = node.evaluation.detail
    return {
        "number": numbers[id(node)],
        "parent": None if node.parent is None else numbers[id(node.parent)],
        "level": level,
        "kept": kept,
        "best": best,
        "easy": node.evaluation.easy,
        "reward": node.evaluation.reward,
        "value": node.value,
        "instructions": dict(node.candidate),
        "query": judged.query,
        "answer": judged.answer,
        "scores": [asdict(score) for score in judged.scores],
        "feedback": judged.feedback.text if judged.feedback else "",
        "error": judged.error,
    }


def _fenced(title: str, text: str) -> list[str]:
    longest, run = 2, 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    fence = "`" * (longest + 1)
    return [f"{_inline(title)}:", "", f"{fence}text", text, fence, ""]


def _inline(text: str) -> str:
    return "".join(char if char.isalnum() or char in " -_.,'[]" else "?" for char in text)

"""The trace of a search: its tree as plain data, and as a page of Markdown that a person can read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..programs.boundary import visible
from .beam import Evaluation, Level, Node
from .board import Board
from .candidates import Candidate
from .evaluation import Judged
from .held_out import Finalist, Selected
from .minibatch import Round

FORMAT = 1
"""Version of `trace.json`."""


def trace_data(levels: Sequence[Level[Candidate]], *, final: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the tree of a search: its nodes in the order they were judged, each with its parent's number.

    Args:
        levels: The levels that `beam_search` has yielded so far, at least one.
        final: The comparison on held-out queries, from `finals_data`. None: there is none, or not yet.
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
        "final": final,
    }


def trace_markdown(data: dict[str, Any]) -> str:
    """Return the Markdown page of a trace; model text stands in fenced blocks, where no markup of its own is read."""
    lines = ["# Trace", "", f"{len(data['nodes'])} nodes; the best path is marked with *.", ""]
    level = -1
    for node in data["nodes"]:
        if node["level"] != level:
            level = node["level"]
            lines += [f"## Level {level}", "", *fenced("query", node["query"])]
        mark = "*" if node["best"] else ""
        reward = "missing" if node["reward"] is None else f"{node['reward']:.2f}"
        fate = "kept" if node["kept"] else "dropped"
        parent = "" if node["parent"] is None else f", from node {node['parent']}"
        lines += [f"### Node {node['number']}{mark}: reward {reward}, value {node['value']:.3f}, {fate}{parent}", ""]
        for name, instruction in node["instructions"].items():
            lines += fenced(f"instruction of {name}", instruction)
        lines += [*fenced("answer", node["answer"]), *_verdicts(node)]
    return "\n".join([*lines, *_finals(data["final"])]) + "\n"


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
        "usage": _usage(judged),
    }


def rounds_data(
    board: Board[Candidate], rounds: Sequence[Round[Candidate]], *, final: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the tree of a default search: its members in the order they were made, each with all its judgements.

    Args:
        board: Members, evaluations and values.
        rounds: The levels finished so far, at least one.
        final: The final selection, from `finals_data`. None: there is none, or not yet.
    """
    last = rounds[-1]
    path = {member.number for member in last.leader.path}
    beams = {member.number for finished in rounds for member in finished.beam}
    return {
        "format": FORMAT,
        "search": "minibatch",
        "levels": last.number,
        "best": last.leader.number,
        "nodes": [
            {
                "number": member.number,
                "parent": None if member.parent is None else member.parent.number,
                "level": member.level,
                "origin": member.origin.value,
                "kept": member.number in beams,
                "best": member.number in path,
                "value": board.value(member),
                "instructions": dict(member.candidate),
                "evaluations": [_evaluation(found) for found in board.evaluations(member).values()],
            }
            for member in board.members
        ],
        "rounds": [_round(finished, before) for finished, before in zip(rounds, [None, *rounds[:-1]], strict=True)],
        "final": final,
    }


def finals_data(
    judged: Sequence[tuple[str, Mapping[str, str], Sequence[Evaluation]]], *, winner: int
) -> dict[str, Any]:
    """Return the final selection as plain data.

    Args:
        judged: The seed, then the finalists: what each has (`seed`, `instruction`, `demonstrations`, `both`), its
            instructions, and its evaluations on held-out queries.
        winner: Which of them is the best of the finalists.
    """
    return {
        "winner": winner,
        "finalists": [
            {"part": part, "instructions": dict(instructions), "evaluations": [_evaluation(one) for one in found]}
            for part, instructions, found in judged
        ],
    }


def selected_data(selected: Selected) -> dict[str, Any]:
    """Return the final selection of the default mode as plain data."""
    finalists: list[Finalist] = [finalist for finalist, _ in selected.judged]
    return finals_data(
        [(one.part.value, one.instructions, list(found.values())) for one, found in selected.judged],
        winner=next(place for place, one in enumerate(finalists) if one is selected.winner),
    )


def _round(finished: Round[Candidate], before: Round[Candidate] | None) -> dict[str, Any]:
    """Return how a level ended: who went on, and what those who ran in it were worth then."""
    ran = {*finished.members, *finished.beam, finished.leader, *(before.beam if before else ())}
    numbers = sorted(member.number for member in ran)
    return {
        "level": finished.number,
        "beam": [member.number for member in finished.beam],
        "leader": finished.leader.number,
        "queries": finished.queries,
        "values": {str(number): finished.values[number] for number in numbers},
    }


def _evaluation(found: Evaluation) -> dict[str, Any]:
    judged: Judged = found.detail
    # The feedback of a dynamic reward is its scores in words; what a metric of the user's says stands nowhere else.
    told = any(score.rationale for score in judged.scores) or judged.feedback is None
    return {
        "reward": found.reward,
        "query": judged.query,
        "answer": judged.answer,
        "scores": [asdict(score) for score in judged.scores],
        "feedback": "" if told or judged.feedback is None else judged.feedback.text,
        "error": judged.error,
        "usage": _usage(judged),
    }


def _usage(judged: Judged) -> dict[str, Any]:
    used = judged.usage
    # Without the last digits, which depend on the order in which prices were added.
    return {"calls": used.calls, "tokens": used.tokens, "cost": None if used.cost is None else round(used.cost, 12)}


def rounds_markdown(data: dict[str, Any]) -> str:
    """Return the Markdown page of a default search's trace."""
    lines = ["# Trace", "", f"{len(data['nodes'])} nodes; the best path is marked with *.", ""]
    level = -1
    for node in data["nodes"]:
        if node["level"] != level:
            level = node["level"]
            lines += [f"## Level {level}", ""]
        mark = "*" if node["best"] else ""
        parent = "" if node["parent"] is None else f" of node {node['parent']}"
        fate = "kept" if node["kept"] else "dropped"
        lines += [f"### Node {node['number']}{mark}: {node['origin']}{parent}, value {node['value']:+.3f}, {fate}", ""]
        for name, instruction in node["instructions"].items():
            lines += fenced(f"instruction of {name}", instruction)
        for number, found in enumerate(node["evaluations"], start=1):
            reward = "missing" if found["reward"] is None else f"{found['reward']:.2f}"
            lines += [f"#### Query {number}: reward {reward}", ""]
            lines += [*fenced("query", found["query"]), *fenced("answer", found["answer"]), *_verdicts(found)]
    return "\n".join([*lines, *_finals(data["final"])]) + "\n"


def _finals(final: dict[str, Any] | None) -> list[str]:
    """Return the section of the final selection; nothing if there was none."""
    if final is None:
        return []
    lines = ["## Final selection", "", "Mean rewards on held-out queries; the best finalist is marked with *.", ""]
    for place, finalist in enumerate(final["finalists"]):
        rewards = [found["reward"] for found in finalist["evaluations"] if found["reward"] is not None]
        mean = f"{sum(rewards) / len(rewards):.2f}" if rewards else "missing"
        mark = "*" if place == final["winner"] else ""
        lines.append(f"* {finalist['part']}{mark}: {mean} on {len(rewards)} queries")
    return [*lines, ""]


def _verdicts(found: dict[str, Any]) -> list[str]:
    lines = [
        f"* {_inline(score['criterion'])}: {'missing' if score['value'] is None else score['value']}"
        for score in found["scores"]
    ]
    lines += [""] if lines else []
    rationales = "\n".join(
        f"{score['criterion']}: {score['rationale']}" for score in found["scores"] if score["rationale"]
    )
    lines += fenced("reasons", rationales) if rationales else []
    return [*lines, *(fenced("error", found["error"]) if found["error"] else [])]


def fenced(title: str, text: str) -> list[str]:
    """Return the lines of Markdown that show a model's text, with no markup of its own read."""
    text = visible(text)  # the page is shown on terminals; `trace.json` has the text as it was
    longest = max([2, *map(len, re.findall("`+", text))])
    fence = "`" * (longest + 1)
    return [f"{_inline(title)}:", "", f"{fence}text", text, fence, ""]


def _inline(text: str) -> str:
    return "".join(char if char.isalnum() or char in " -_.,'[]" else "?" for char in text)

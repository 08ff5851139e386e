"""The nodes of a trace, of either search, as the page shows them: figures for the tree, texts for the panel beside it.

Rewards are in [0, 1] here, as in `result.json`; a score per criterion stays on the judge's scale of 1 to 5.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.judgement import LEVELS, to_unit
from .intervals import interval_of
from .sections import number, shown


class Names:
    """Texts that many nodes share, each kept once and known by its number."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        """All of them, by number."""
        self._numbers: dict[str, int] = {}

    def of(self, text: object) -> int:
        """Return a text's number; a new one gets the next."""
        name = shown(text)
        if name not in self._numbers:
            self._numbers[name] = len(self.texts)
            self.texts.append(name)
        return self._numbers[name]


class TraceNodes:
    """The nodes of one trace.

    Args:
        trace: What `trace.json` says.
    """

    def __init__(self, trace: Mapping[str, Any]) -> None:
        self.paper = trace.get("search") != "minibatch"
        """Whether it is the paper's search, whose nodes have one judgement each."""
        self.criteria, self.queries = Names(), Names()
        self._given = {int(node["number"]): node for node in trace["nodes"]}
        self._evaluations = {one: self._read(node) for one, node in self._given.items()}
        self._roots = [one for one, node in self._given.items() if node.get("parent") is None]

    def summaries(self) -> list[dict[str, Any]]:
        """Return what the tree shows of each node, in the trace's order."""
        return [self._summary(one) for one in self._given]

    def details(self) -> list[dict[str, Any]]:
        """Return the texts of each node, in the same order."""
        return [
            {
                "number": one,
                "instructions": {shown(name): shown(text) for name, text in node["instructions"].items()},
                "evaluations": self._evaluations[one],
            }
            for one, node in self._given.items()
        ]

    def read(self, evaluations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return evaluations of programs that are no nodes, the finalists'."""
        return [self._evaluation(one) for one in evaluations]

    def _read(self, node: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [self._evaluation(one) for one in ([node] if self.paper else node["evaluations"])]

    def _evaluation(self, found: Mapping[str, Any]) -> dict[str, Any]:
        reward = number(found.get("reward"))
        usage = found.get("usage") or {}
        return {
            "query": self.queries.of(found.get("query")),
            "answer": shown(found.get("answer")),
            "reward": None if reward is None else round(to_unit(reward), 6),
            "scores": [
                [self.criteria.of(score.get("criterion")), number(score.get("value")), shown(score.get("rationale"))]
                for score in found.get("scores") or []
            ],
            "feedback": shown(found.get("feedback")),
            "error": shown(found.get("error")),
            "calls": number(usage.get("calls")),
            "tokens": number(usage.get("tokens")),
            "cost": number(usage.get("cost")),
        }

    def _summary(self, one: int) -> dict[str, Any]:
        node, found = self._given[one], self._evaluations[one]
        parent = node.get("parent")
        value = number(node.get("value"))
        rewards = [evaluation["reward"] for evaluation in found if evaluation["reward"] is not None]
        return {
            "number": one,
            "parent": None if parent is None else int(parent),
            "level": int(node["level"]),
            "origin": shown(node.get("origin") or ("seed" if parent is None else "rewrite")),
            "kept": bool(node.get("kept")),
            "best": bool(node.get("best")),
            "easy": bool(node.get("easy")),
            "value": None if value is None else round(self._value(value), 6),
            "reward": interval_of(rewards, low=0, high=1),
            "gain": None if parent is None or self.paper else self._difference(one, self._roots[0]),
            "step": None if parent is None else self._difference(one, int(parent)),
            "judged": len(found),
            "missing": sum(evaluation["reward"] is None for evaluation in found),
            "failed": sum(bool(evaluation["error"]) for evaluation in found),
            "criteria": self._criteria(found),
            **{name: _sum(found, name) for name in ("calls", "tokens", "cost")},
        }

    def _value(self, value: float) -> float:
        """Return a value in rewards: of paper mode a mean score, else points better than the seed."""
        return (to_unit(value) if value else 0.0) if self.paper else value / LEVELS

    def _difference(self, one: int, other: int) -> dict[str, Any] | None:
        """Return by how much a node is better than another, on the queries that both have a reward on."""
        before = {found["query"]: found["reward"] for found in self._evaluations.get(other, ())}
        pairs = [(found["reward"], before.get(found["query"])) for found in self._evaluations[one]]
        return interval_of([mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None])

    def _criteria(self, found: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """Return number of a criterion, mean score, ends of its interval, and how many scores there are."""
        scores: dict[int, list[float]] = defaultdict(list)
        for evaluation in found:
            for criterion, value, _ in evaluation["scores"]:
                if value is not None:
                    scores[criterion].append(value)
        means = {criterion: interval_of(values, low=1, high=5) for criterion, values in sorted(scores.items())}
        return [[name, one["mean"], one["low"], one["high"], one["count"]] for name, one in means.items() if one]


def _sum(found: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the sum of what evaluations took; None where the trace of an earlier version does not say, or a price."""
    amounts = [evaluation[name] for evaluation in found]
    return None if None in amounts else sum(amounts)

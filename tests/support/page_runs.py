"""Run directories for the page, made up: large ones, and ones whose every text is an attack."""

from __future__ import annotations

from itertools import count
from typing import Any

CRITERIA = ["Clarity", "Depth", "Safety", "Honesty"]
WORDS = (
    "answer", "plainly", "name", "the", "step", "say", "why", "keep", "it", "short", "check", "each", "fact", "show", "a", "case", "for", "people", "who", "are", "new",
)  # fmt: skip


def sentence(number: int, length: int) -> str:
    return " ".join(WORDS[(number * 7 + place * (1 + number % 5)) % len(WORDS)] for place in range(length))


def evaluation(node: int, query: int, *, words: int = 60) -> dict[str, Any]:
    scores = [
        {
            "criterion": name,
            "value": 1 + (node + query + place) % 5,
            "rationale": sentence(node + place, 12),
            "weight": 1.0,
        }
        for place, name in enumerate(CRITERIA)
    ]
    return {
        "query": f"query {query}: {sentence(query, 12)}",
        "answer": sentence(node * 3 + query, words),
        "reward": sum(score["value"] for score in scores) / len(scores),
        "scores": scores,
        "feedback": "",
        "error": "",
        "usage": {"calls": 2, "tokens": 300, "cost": 0.001},
    }


def minibatch_trace(levels: int, width: int, *, queries: int = 3, words: int = 60) -> dict[str, Any]:
    """Return the trace of a default search: the first child of each level leads, the second is kept."""
    nodes, rounds = [], []
    numbers = count()

    def add(parent: int | None, level: int, place: int) -> int:
        number = next(numbers)
        lines = "\n".join(f"- {sentence(number + line, 9)}" for line in range(min(level, 12) + 1))
        nodes.append(
            {
                "number": number, "parent": parent, "level": level,
                "origin": "seed" if parent is None else "merged" if place == 0 else "rewrite",
                "kept": place < 2, "best": place == 0, "value": 0.02 * level - 0.01 * place,
                "instructions": {"respond": f"You are a helpful assistant.\n{lines}" if level else "You are a helpful assistant."},
                "evaluations": [
                    evaluation(number, (level + query) % 40, words=words)
                    for query in range(queries if place < 2 or level == 0 else 1)
                ],
            }
        )  # fmt: skip
        return number

    beam = [add(None, 0, 0)]
    rounds.append({"level": 0, "beam": beam, "leader": 0, "queries": queries, "values": {"0": 0.0}})
    for level in range(1, levels + 1):
        made = [add(beam[place % len(beam)], level, place) for place in range(width)]
        values = {str(number): nodes[number]["value"] for number in made}
        beam = made[:2]
        rounds.append({"level": level, "beam": beam, "leader": beam[0], "queries": queries, "values": values})
    final = {
        "winner": 1,
        "finalists": [
            {
                "part": part,
                "instructions": nodes[number]["instructions"],
                "evaluations": [evaluation(number + place, 50 + query, words=words) for query in range(12)],
            }
            for place, (part, number) in enumerate([("seed", 0), ("instruction", beam[0])])
        ],
    }
    return {
        "format": 1, "search": "minibatch", "levels": levels, "best": beam[0], "nodes": nodes, "rounds": rounds, "final": final,
    }  # fmt: skip


def result(trace: dict[str, Any]) -> dict[str, Any]:
    """Return a `result.json` that goes with a trace."""
    roles = ("task", "judge", "criteria", "prompt")
    best = trace["nodes"][trace["best"]]
    return {
        "decision": "improved", "optimizer": "drpo", "seed_reward": 0.5, "reward": 0.62, "gain": 0.12, "gain_ci": [0.05, 0.19],
        "search_value": 0.6, "num_train": 40, "num_val": 12,
        "lm_calls": dict.fromkeys(roles, 100), "truncated": dict.fromkeys(roles, 0), "tokens": dict.fromkeys(roles, 9000),
        "seconds": dict.fromkeys(roles, 3.5), "cost": dict.fromkeys(roles, 0.01),
        "missing_judgements": 1, "program_errors": 0, "unusable_proposals": 0, "stopped": None,
        "instructions": best["instructions"], "models": {role: f"openai/{role}" for role in roles},
        "simulated": False, "true_gain": None, "seed": 0, "returned": "instruction", "winner_curse": 0.01,
        "ablation": {"instruction": {"mean": 0.12, "low": 0.05, "high": 0.19, "count": 12}},
        "num_demos": {"respond": 0}, "refused_proposals": {"duplicate": 2}, "versions": {"drpo-dspy": "0"},
    }  # fmt: skip


def bill() -> dict[str, Any]:
    used = {
        "model": "openai/x", "calls": 100, "errors": 1, "replayed": 0, "truncated": 0, "prompt_tokens": 7000,
        "completion_tokens": 2000, "seconds": 3.5, "cost": 0.01, "error_kinds": {"LMRateLimitError": 1}, "given_up": 0,
        "waited": 0.5,
    }  # fmt: skip
    return {
        "roles": {role: used for role in ("task", "judge", "criteria", "prompt")},
        "cost": 0.04, "caps": ["max_lm_calls=500"], "wall_seconds": 9.0,
    }  # fmt: skip


def ledger(trace: dict[str, Any]) -> dict[str, Any]:
    queries = dict.fromkeys(found["query"] for node in trace["nodes"] for found in node["evaluations"])
    criteria = [
        {
            "name": name,
            "definition": sentence(place, 8),
            "best": "",
            "worst": "",
            "weight": 1.0,
            "reason": sentence(place, 6),
        }
        for place, name in enumerate(CRITERIA)
    ]
    return {
        "format": 1,
        "entries": [
            {"query": query, "source": "selector", "analysis": "hard", "criteria": criteria} for query in queries
        ],
    }


def config() -> dict[str, Any]:
    return {
        "format": 2, "optimizer": {"class": "DRPOTeleprompter", "auto": "light"},
        "lms": {"task": {"model": "openai/task", "temperature": 0.0}},
        "student": {"class": "Responder", "instructions": {"respond": "You are a helpful assistant."}},
        "data": {"num_train": 40, "train": "a" * 64}, "reward": {"criteria": CRITERIA}, "versions": {"drpo-dspy": "0"},
    }  # fmt: skip


def run_files(trace: dict[str, Any]) -> dict[str, Any]:
    """Return the files of a finished run."""
    return {
        "config.json": config(), "trace.json": trace, "result.json": result(trace), "bill.json": bill(),
        "ledger.json": ledger(trace), "log.txt": "2026-01-01 00:00:00 INFO level 0: 1 new\n",
    }  # fmt: skip


ATTACK = (
    "<script>window.hacked=(window.hacked||0)+1;fetch('http://127.0.0.1:9/a')</script></script><script>window.hacked=9</script>"
    "<img src=http://127.0.0.1:9/b onerror='window.hacked=1'><svg onload=window.hacked=1></svg><!--<script>"
    "<iframe src=javascript:window.hacked=1></iframe>\"'><a href='javascript:window.hacked=1'>x</a>"
    "<style>@import 'http://127.0.0.1:9/c';*{background:url(http://127.0.0.1:9/d)}</style>"
    "{{constructor.constructor('window.hacked=1')()}}${window.hacked=1}\\u003cscript>]]>&lt;script&gt;\u202e\u2066\u200b\x1b[2J\x00\ud800"
)
"""Every way that markup could come in, in one text."""
_MEANT = {"search", "decision", "returned", "part"}
"""Keys whose values decide what is drawn; every other text is somebody's."""
_NAMES = {
    "instructions",
    "models",
    "error_kinds",
    "num_demos",
    "refused_proposals",
    "versions",
    "lms",
    "optimizer",
    "data",
    "reward",
}
"""Keys of mappings whose own keys are somebody's texts."""


def hostile(data: Any, key: str = "") -> Any:
    """Return data with an attack in place of every text, and of every name that a model, a user or a file gave."""
    if isinstance(data, str):
        return data if key in _MEANT else f"{data[:12]}{ATTACK}"
    if isinstance(data, list):
        return [hostile(one, key) for one in data]
    if isinstance(data, dict):
        named = key in _NAMES
        return {f"{name}{ATTACK}" if named else name: hostile(one, name) for name, one in data.items()}
    return data

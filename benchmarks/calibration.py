"""How near the simulated world is to reality: the paper's search run in it, beside the published runs.

    DRPO_DATA=<folder of the reference data> python benchmarks/calibration.py [--world NAME] [--json FILE]

Both columns are measured alike: eight base models search the same thirty queries with beam 2 and 3 rewrites, each
candidate judged once per level. Reality's figures on whole trees are those of the reference (algorithm, section 8);
those on best paths are computed here from `official/runs/*.json` if DRPO_DATA is set. A row is good if the world lies
within the stated bound.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import dspy

from drpo.metrics.criteria import LIBRARY, CriteriaLibrary, Criterion
from drpo.metrics.judgement import Judgement, Score
from drpo.programs.boundary import enclose
from drpo.programs.judge import JUDGE_RULES, Asked, judge_signature, show_criteria
from drpo.programs.rewriter import REWRITER_RULES, rewriter_signature, tidy
from drpo.programs.selector import SELECTOR_RULES, selector_signature
from drpo.serving.simulated.models import SimulatedModels, SimulatedRequest
from drpo.serving.simulated.world import World
from drpo.teleprompters.beam import Evaluation, Node, beam_search


@dataclass(frozen=True)
class Row:
    """One statistic."""

    name: str
    reality: float
    low: float
    high: float
    source: str


ROWS = (
    Row("mean reward, best paths", 4.25, 4.05, 4.45, "field 1: eight runs, n = 238"),
    Row("SD of rewards, best paths", 0.99, 0.80, 1.20, "field 1"),
    Row("between-query SD, best paths", 0.75, 0.55, 0.95, "field 1"),
    Row("within-query SD, best paths", 0.70, 0.50, 0.90, "field 1"),
    Row("rewards exactly 5, best paths", 0.36, 0.28, 0.46, "field 1"),
    Row("rewards of 4.8 or more, best paths", 0.47, 0.38, 0.57, "field 1"),
    Row("criterion scores of 5, best paths", 0.65, 0.57, 0.73, "runs: 854 scores"),
    Row("criterion scores of 1, best paths", 0.05, 0.02, 0.08, "runs"),
    Row("sibling triples fully tied", 0.35, 0.27, 0.43, "algorithm 8: 72 of 204"),
    Row("sibling spread, mean", 0.63, 0.45, 0.80, "algorithm 8"),
    Row("sibling spread, median", 0.20, 0.10, 0.40, "algorithm 8"),
    Row("sibling spread of 1 or more", 0.16, 0.09, 0.25, "algorithm 8"),
    Row("variance: query", 0.43, 0.33, 0.53, "algorithm 8: 846 nodes"),
    Row("variance: model x query", 0.35, 0.25, 0.45, "algorithm 8"),
    Row("variance: the rest", 0.23, 0.16, 0.30, "algorithm 8"),
    Row("judge replies malformed", 0.022, 0.010, 0.035, "algorithm 8: 20 of 923"),
    Row("correlation of words and reward", -0.47, -0.60, -0.34, "algorithm 8"),
    Row("answers of more than 1,200 words", 0.056, 0.02, 0.09, "algorithm 5: 52 of 923"),
    Row("queries with five criteria", 0.76, 0.68, 0.85, "algorithm 4: 42 of 55"),
    Row("nodes per run", 103.0, 70.0, 136.0, "algorithm 8: 69 to 136"),
    Row("words of the final instruction", 300.0, 60.0, 381.0, "algorithm 8: 233 to 381 (ours allows eight rules)"),
)
"""What is compared, with the bound in which the world has to lie."""

_SELECTS = selector_signature(SELECTOR_RULES, 2, 5)
_REWRITES = rewriter_signature(REWRITER_RULES)
_LIBRARY = "\n".join(f"- {criterion.name}: {criterion.definition}" for criterion in LIBRARY)


@dataclass(frozen=True)
class Judged:
    """One node's answer."""

    model: int
    query: str
    reward: float | None
    scores: tuple[int, ...]
    words: int
    feedback: str


enclosed = lru_cache(maxsize=4096)(enclose)


@lru_cache(maxsize=64)
def layout(signature: Any) -> tuple[str, str]:
    """Return the messages of a judge-side call, with a place for each input; making them anew would take the time."""
    places = {name: f"<<<{name}>>>" for name in signature.input_fields}
    system, user = dspy.JSONAdapter().format(signature, demos=[], inputs=places)
    return system["content"], user["content"]


class Laboratory:
    """One base model's search, on the models directly: DSPy's call path would only add time."""

    def __init__(self, world: World, queries: Sequence[str]) -> None:
        self.models, self.queries, self.world = SimulatedModels(world), queries, world
        self.judged: list[Judged] = []
        self.siblings: list[list[float]] = []
        self.malformed = self.judgements = 0
        self.criteria: dict[str, tuple[Criterion, ...]] = {}

    def ask(
        self, name: str, signature: Any, inputs: dict[str, str], *, temperature: float = 0.0, sample: int = 0
    ) -> str:
        system, user = layout(signature)
        for field, text in inputs.items():
            user = user.replace(f"<<<{field}>>>", text)
        request = SimulatedRequest(name, system, (("user", user),), temperature, sample=sample)
        return self.models.reply(request).text

    def criteria_of(self, query: str) -> tuple[Criterion, ...]:
        if query not in self.criteria:
            text = self.ask(
                "sim/criteria",
                _SELECTS,
                {"library": _LIBRARY, "query": enclosed("query", query)},
            )
            library = CriteriaLibrary()
            chosen = json.loads(text)["criteria"]
            self.criteria[query] = tuple(
                library.find(choice["name"]) or Criterion(choice["name"], choice["definition"]) for choice in chosen
            )
        return self.criteria[query]

    def judge(self, instruction: str, query: str) -> Evaluation:
        answer = self.models.reply(SimulatedRequest("sim/base", instruction, (("user", query),), 0.0)).text
        criteria = self.criteria_of(query)
        asked = [Asked(one.name, one.definition, one.best, one.worst) for one in criteria]
        inputs = {
            "criteria": show_criteria(asked),
            "query": enclosed("query", query),
            "answer": enclosed("answer", answer),
        }
        text = self.ask("sim/judge", judge_signature(JUDGE_RULES, len(asked)), inputs)
        self.judgements += 1
        try:
            grades = [json.loads(text)[f"judgement_{number}"] for number in range(1, len(asked) + 1)]
            scores = tuple(int(grade["score"]) for grade in grades)
        except (ValueError, KeyError, TypeError):
            self.malformed += 1
            return Evaluation(None)
        rows = tuple(
            Score(one.name, score, grade["rationale"])
            for one, score, grade in zip(criteria, scores, grades, strict=True)
        )
        judgement = Judgement(query=query, answer=answer, scores=rows)
        reward, feedback = judgement.mean, judgement.feedback
        assert reward is not None
        assert feedback is not None
        judged = Judged(self.world.model, query, reward, scores, len(answer.split()), feedback.text)
        self.judged.append(judged)
        return Evaluation(reward, easy=reward > 4.5, detail=judged)

    def propose(self, nodes: Sequence[Node[str]]) -> list[list[str]]:
        proposals = []
        for node in nodes:
            earlier = [enclosed("instruction", one.candidate) for one in node.path[-5:-1]]
            inputs = {
                "earlier_instructions": "\n\n".join(earlier) or "(none)",
                "current_instruction": enclosed("instruction", node.candidate),
                "feedback": node.evaluation.detail.feedback,
            }
            texts = [self.ask("sim/prompt", _REWRITES, inputs, temperature=0.2, sample=number) for number in range(3)]
            proposals.append([tidy(json.loads(text)["new_instruction"]) for text in texts])
        return proposals

    def search(self) -> tuple[int, list[Judged], str]:
        nodes, path, final = 0, [], ""
        for level in beam_search(
            "You are a helpful assistant.", num_queries=len(self.queries), propose=self.propose,
            evaluate=lambda candidates, number: [self.judge(one, self.queries[number]) for one in candidates],
        ):  # fmt: skip
            nodes += len(level.children) or 1
            families = defaultdict(list)
            for node in level.children:
                if node.parent is not None and node.evaluation.reward is not None:
                    families[id(node.parent)].append(node.evaluation.reward)
            self.siblings += [rewards for rewards in families.values() if len(rewards) == 3]
            path, final = [node.evaluation.detail for node in level.best.path], level.best.candidate
        return nodes, [judged for judged in path if judged is not None], final


def measure(world: World, queries: Sequence[str], *, models: int = 8, repeats: int = 1) -> dict[str, float]:
    """Return the statistics of eight (or fewer) models searching the same thirty queries, averaged over repeats."""
    columns = [_measured(replace(world, seed=world.seed + number), queries, models) for number in range(repeats)]
    return {name: statistics.fmean(column[name] for column in columns) for name in columns[0]}


def _measured(world: World, queries: Sequence[str], models: int) -> dict[str, float]:
    laboratories = [Laboratory(replace(world, model=world.model + number), queries) for number in range(models)]
    runs = [laboratory.search() for laboratory in laboratories]
    judged = [one for laboratory in laboratories for one in laboratory.judged]
    paths = [one for _, path, _ in runs for one in path]
    rewards = [one.reward for one in paths]
    spreads = [max(some) - min(some) for laboratory in laboratories for some in laboratory.siblings] or [0.0]
    split = variance_split([(one.model, one.query, one.reward) for one in judged])
    scores = [score for one in paths for score in one.scores]
    counts = [len(some) for laboratory in laboratories for some in laboratory.criteria.values()]
    by_query = defaultdict(list)
    for one in paths:
        by_query[one.query].append(one.reward)
    within = statistics.fmean(statistics.pvariance(some) for some in by_query.values()) ** 0.5
    values = {
        "mean reward, best paths": statistics.fmean(rewards),
        "SD of rewards, best paths": statistics.pstdev(rewards),
        "between-query SD, best paths": statistics.pstdev([statistics.fmean(some) for some in by_query.values()]),
        "within-query SD, best paths": within,
        "rewards exactly 5, best paths": share(one == 5 for one in rewards),
        "rewards of 4.8 or more, best paths": share(one >= 4.8 for one in rewards),
        "criterion scores of 5, best paths": share(one == 5 for one in scores),
        "criterion scores of 1, best paths": share(one == 1 for one in scores),
        "sibling triples fully tied": share(one == 0 for one in spreads),
        "sibling spread, mean": statistics.fmean(spreads),
        "sibling spread, median": statistics.median(spreads),
        "sibling spread of 1 or more": share(one >= 1 for one in spreads),
        "variance: query": split[0],
        "variance: model x query": split[1],
        "variance: the rest": split[2],
        "judge replies malformed": sum(one.malformed for one in laboratories)
        / sum(one.judgements for one in laboratories),
        "correlation of words and reward": statistics.correlation(
            [one.words for one in judged], [one.reward for one in judged]
        ),
        "answers of more than 1,200 words": share(one.words > 1200 for one in judged),
        "queries with five criteria": share(one == 5 for one in counts),
        "nodes per run": statistics.fmean(nodes for nodes, _, _ in runs),
        "words of the final instruction": statistics.fmean(len(final.split()) for _, _, final in runs),
    }
    return values


def variance_split(rewards: Sequence[tuple[int, str, float]]) -> tuple[float, float, float]:
    """Return the shares of the sum of squares: between queries, between models within a query, and the rest."""
    mean = statistics.fmean(reward for _, _, reward in rewards)
    by_query, by_pair = defaultdict(list), defaultdict(list)
    for model, query, reward in rewards:
        by_query[query].append(reward)
        by_pair[query, model].append(reward)
    query_means = {query: statistics.fmean(some) for query, some in by_query.items()}
    query = sum(len(some) * (query_means[name] - mean) ** 2 for name, some in by_query.items())
    pair = sum(len(some) * (statistics.fmean(some) - query_means[name]) ** 2 for (name, _), some in by_pair.items())
    total = sum((reward - mean) ** 2 for _, _, reward in rewards) or 1.0
    return query / total, pair / total, 1 - (query + pair) / total


def published(folder: Path) -> dict[str, float]:
    """Return what the six published best paths say of the rows that they can say anything of."""
    by_level, rewards, scores = defaultdict(list), [], []
    for path in sorted((folder / "official" / "runs").glob("*.json")):
        for level, record in json.loads(path.read_text(encoding="utf-8")).items():
            found = [int(one["score"]) for one in (record.get("Evaluation of the prompt") or {}).values()]
            if found:
                scores += found
                rewards.append(sum(found) / len(found))
                by_level[level].append(rewards[-1])
    choices = json.loads((folder / "official" / "metrics_cache.json").read_text(encoding="utf-8"))
    counts = [len(one["aspects_selection"]["selected_aspects"]) for one in choices.values()]
    return {
        "mean reward, best paths": statistics.fmean(rewards),
        "SD of rewards, best paths": statistics.pstdev(rewards),
        "between-query SD, best paths": statistics.pstdev([statistics.fmean(some) for some in by_level.values()]),
        "within-query SD, best paths": statistics.fmean(statistics.pvariance(some) for some in by_level.values())
        ** 0.5,
        "rewards exactly 5, best paths": share(one == 5 for one in rewards),
        "rewards of 4.8 or more, best paths": share(one >= 4.8 for one in rewards),
        "criterion scores of 5, best paths": share(one == 5 for one in scores),
        "criterion scores of 1, best paths": share(one == 1 for one in scores),
        "queries with five criteria": share(one == 5 for one in counts),
    }


def share(values: Any) -> float:
    known = [bool(value) for value in values]
    return sum(known) / max(1, len(known))


def shipped_queries(count: int = 30) -> list[str]:
    """Return the first shipped prompts, as a run would take them."""
    path = Path(__file__).parents[1] / "configs" / "data" / "prompts.jsonl"
    return [json.loads(line)["query"] for line in path.read_text(encoding="utf-8").splitlines()][:count]


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the simulated world beside the published runs.")
    parser.add_argument("--world", default="default", help="a preset, random-<seed> or a YAML file")
    parser.add_argument(
        "--repeats", type=int, default=5, help="how many times the eight models search, under other seeds"
    )
    parser.add_argument("--json", type=Path, help="where the table is written as JSON")
    arguments = parser.parse_args()
    values = measure(World.named(arguments.world), shipped_queries(), repeats=arguments.repeats)
    folder = os.environ.get("DRPO_DATA")
    computed = published(Path(folder)) if folder else {}
    print(f"{'statistic':38} {'world':>8} {'reality':>8} {'here':>8}   bound             source of 'reality'")
    bad = 0
    for row in ROWS:
        good = row.low <= values[row.name] <= row.high
        bad += not good
        here = f"{computed[row.name]:8.3f}" if row.name in computed else " " * 8
        bound = f"{row.low:7.3f} to {row.high:7.3f} {' ' if good else '!'}"
        print(f"{row.name:38} {values[row.name]:8.3f} {row.reality:8.3f} {here}   {bound} {row.source}")
    if arguments.json:
        table = [{**vars(row), "world": values[row.name], "computed": computed.get(row.name)} for row in ROWS]
        arguments.json.write_text(json.dumps(table, indent=2), encoding="utf-8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

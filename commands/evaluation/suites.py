"""The suites of `drpo evaluate`: which queries are asked, and what their answers are marked on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import dspy

from ...configs.columns import choose_column
from ...configs.prompts import load_prompts
from ...configs.rows import read_rows
from ...errors import ConfigError, DataError
from ...metrics.just_eval.aspects import ASPECTS, RULES, SAFETY, Category, aspects_of, rubric
from ...metrics.just_eval.sampling import stratified
from ...metrics.ledger import Entry, Ledger, Source
from ...metrics.reward import DynamicReward, query_of
from ...programs.judge import JUDGE_RULES, judge_signature
from ...teleprompters.roles import digest

SourceOfRows = Path | str | Sequence[Any]
"""Where queries come from: a file, `hf:<data set>`, `builtin:prompts`, or a list of rows."""


class SuiteName(StrEnum):
    """What can be evaluated by."""

    JUST_EVAL = "just-eval"
    """Five aspects from 1 to 5 on regular queries, safety on safety queries: the protocol that the paper reports."""
    DYNAMIC = "dynamic"
    """The dynamic reward: criteria chosen per query, or pinned by a ledger."""


@dataclass(frozen=True)
class Query:
    """One query of a suite."""

    id: str
    """Its name, unique in the suite."""
    example: dspy.Example
    """The program's inputs."""
    groups: Mapping[str, str]
    """Column to value, for the breakdown: `category`, `dataset`, `kind`."""
    has_overall: bool = True
    """Whether it counts for the overall mean; safety queries of just-eval do not."""


@dataclass(frozen=True)
class Suite:
    """Queries, and what their answers are marked on."""

    name: SuiteName
    """Which suite it is."""
    queries: tuple[Query, ...]
    """In the order of their source."""
    reward: DynamicReward
    """What marks; its ledger says which query is marked on what."""
    strict_overall: bool
    """Whether a query with a missing aspect has no overall mean; else it is the mean of those that are there."""

    @property
    def examples(self) -> list[dspy.Example]:
        """The programs' inputs."""
        return [query.example for query in self.queries]

    @property
    def is_pinned(self) -> bool:
        """Whether it is settled for every query what it is marked on."""
        return all(query_of(query.example) in self.reward.ledger for query in self.queries)

    @property
    def version(self) -> dict[str, Any]:
        """What two results must have in common to be compared: `rubric`, `queries` (digests) and `num_queries`.

        The rubric's is None as long as criteria are still to be chosen.
        """
        return {
            "rubric": self._rubric()[:16] if self.is_pinned else None,
            "queries": digest([[one.id, query_of(one.example), dict(one.groups)] for one in self.queries])[:16],
            "num_queries": len(self.queries),
        }

    def _rubric(self) -> str:
        fields = judge_signature("", 1).fields.items()
        layout = [[name, field.json_schema_extra["desc"]] for name, field in fields]
        if self.name is SuiteName.JUST_EVAL:
            return digest([rubric(), layout])
        entries = [self.reward.ledger[query_of(query.example)] for query in self.queries]
        return digest([JUDGE_RULES, layout, [[list(map(asdict, entry.criteria)), entry.reasons] for entry in entries]])


def just_eval(data: SourceOfRows, *, input_field: str, limit: int | None = None, seed: int = 0) -> Suite:
    """Return the just-eval suite over the queries of a source.

    Args:
        data: Rows with an `instruction`, or another column that can be told to hold the prompts; and, where they are
            there, `id`, `dataset` and `category` (`regular` or `safety`). Without a category those of the `kind` safety
            are safety queries, and all others regular ones.
        input_field: The programs' input field.
        limit: How many queries are drawn, from each category and data set in proportion. None: all.
        seed: Which ones are drawn.

    Raises:
        DataError: If a row cannot be used; the message names it.
    """
    table = read_rows(data)
    named = any(isinstance(row.value, Mapping) and "instruction" in row.value for row in table.rows)
    column = "instruction" if named else choose_column(table, column=None, field=input_field)
    queries: list[Query] = []
    entries: dict[str, Entry] = {}
    for number, row in enumerate(table.rows):
        where = f"{table.source!r}: {row.where}"
        values = row.value if isinstance(row.value, Mapping) else {}
        text = row.value if column is None else values.get(column)
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{where}: no text under {column or 'it'!r}; give it one, or remove the row")
        category = _category(values, where)
        groups = {"category": category.value, **_text(values, "dataset"), **_text(values, "kind")}
        example = dspy.Example(**{input_field: text}).with_inputs(input_field)
        name = str(values.get("id", number))
        queries.append(Query(name, example, groups, has_overall=category is Category.REGULAR))
        entry = Entry(text, aspects_of(category), source=Source.STATIC)
        if entries.setdefault(text, entry).criteria != entry.criteria:
            raise DataError(f"{where}: an earlier row has the same query in another category; remove one of them")
    _check_names(queries, table.source)
    kept = stratified(queries, [tuple(query.groups.values()) for query in queries], limit=limit, seed=seed)
    reward = DynamicReward(
        criteria=[*ASPECTS, *SAFETY], dynamic=False, max_criteria=6, ledger=Ledger(entries), judge_rules=RULES
    )
    return Suite(SuiteName.JUST_EVAL, tuple(kept), reward, strict_overall=True)


def dynamic(
    data: SourceOfRows,
    *,
    reward: DynamicReward,
    input_fields: Sequence[str],
    column: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Suite:
    """Return the dynamic reward as a suite over the prompts of a source.

    Args:
        data: What `load_prompts` takes.
        reward: The reward; queries that its ledger has are marked on what stands there.
        input_fields: The programs' input fields.
        column: The column that holds the prompts. None: guessed.
        limit: How many prompts are drawn, of each kind in proportion. None: all.
        seed: Which ones are drawn.

    Raises:
        DataError: If the source or one of its rows cannot be used.
    """
    prompts = load_prompts(data, column=column, fields=input_fields).examples
    queries = [Query(str(number), _inputs(example), _text(example, "kind")) for number, example in enumerate(prompts)]
    kept = stratified(queries, [query.groups.get("kind") for query in queries], limit=limit, seed=seed)
    return Suite(SuiteName.DYNAMIC, tuple(kept), reward, strict_overall=False)


def suite_name(value: str) -> SuiteName:
    """Return a suite by its name.

    Raises:
        ConfigError: If there is none of that name.
    """
    try:
        return SuiteName(value)
    except ValueError:
        raise ConfigError(f"suite={value!r}: choose one of {', '.join(map(str, SuiteName))}") from None


def _category(values: Mapping[str, Any], where: str) -> Category:
    value = values.get("category")
    if "category" not in values:
        return Category.SAFETY if values.get("kind") == Category.SAFETY.value else Category.REGULAR
    try:
        return Category(str(value))
    except ValueError:
        raise DataError(f"{where}: category {str(value)[:40]!r} is unknown; write regular or safety") from None


def _text(values: Any, column: str) -> dict[str, str]:
    value = values.get(column)
    return {column: value} if isinstance(value, str) and value.strip() else {}


def _check_names(queries: Sequence[Query], source: str) -> None:
    seen: set[str] = set()
    for query in queries:
        if query.id in seen:
            raise DataError(f"{source!r}: the id {query.id!r} stands in two rows; give each row its own")
        seen.add(query.id)


def _inputs(example: dspy.Example) -> dspy.Example:
    """Return an example with its inputs alone."""
    return dspy.Example(**example.inputs()).with_inputs(*example.inputs().keys())

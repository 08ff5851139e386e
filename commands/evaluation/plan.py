"""How many calls an evaluation makes: said before the first one, and held against the caps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dspy

from ...errors import ConfigError
from ...serving.caps import Cap, CapKind
from ...serving.roles import Role
from .suites import Suite


@dataclass(frozen=True)
class Plan:
    """How many calls an evaluation makes if every reply can be read."""

    queries: int
    """Queries of the suite."""
    programs: int
    """Programs that answer."""
    task: int
    """Calls for answers; a program of the user's may make more than it has predictors."""
    marks: int
    """Calls for marks."""
    criteria: int
    """Calls that choose criteria; 0 where they are pinned."""
    pairs: int
    """Calls that compare two answers."""

    @classmethod
    def of(cls, suite: Suite, programs: Sequence[dspy.Module], pairwise: bool) -> Plan:
        """Return the plan of some programs on a suite."""
        count = len(suite.queries)
        predictors = sum(len(program.predictors()) for program in programs)
        return cls(
            queries=count,
            programs=len(programs),
            task=count * predictors,
            marks=count * len(programs),
            criteria=0 if suite.is_pinned else count,
            pairs=2 * count * pairwise,
        )

    @property
    def total(self) -> int:
        """All calls."""
        return self.task + self.marks + self.criteria + self.pairs

    def check(self, caps: Sequence[Cap]) -> None:
        """Refuse a cap on calls that the evaluation cannot end within.

        Raises:
            ConfigError: It says how many calls it takes.
        """
        by_role = {Role.TASK: self.task, Role.JUDGE: self.marks + self.pairs, Role.CRITERIA: self.criteria}
        for cap in caps:
            needed = self.total if cap.role is None else by_role.get(cap.role, 0)
            if cap.kind is CapKind.LM_CALLS and cap.limit < needed:
                raise ConfigError(f"{cap}: this evaluation makes {needed:,} such calls; raise it, or lower limit")

    def __str__(self) -> str:
        """Return one line for people."""
        parts = [f"{self.task:,} for answers", f"{self.marks:,} for marks"]
        parts += [f"{self.criteria:,} for criteria"] if self.criteria else []
        parts += [f"{self.pairs:,} for pairs in both orders"] if self.pairs else []
        return (
            f"{self.queries:,} queries, {self.programs} program{'s' * (self.programs > 1)}: {self.total:,} calls "
            f"({', '.join(parts)}); more where a judgement cannot be read, which is asked for once more"
        )

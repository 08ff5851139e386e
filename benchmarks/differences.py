"""How often the interval of a difference holds the true one: plainly, and at equal length.

    DRPO_DATA=<folder of the reference data> python benchmarks/differences.py [--draws 200] [--passes 10] [--json FILE]

Two programs of `just_eval.py`, *bare* and *guided*, answer the 1,000 queries in several passes; each draw takes queries
with replacement, one mark of each program per query from passes that are drawn too, and compares them with the code of
`drpo evaluate`. The target is the difference of their true levels over all queries.

Judges: *unbiased* as in `just_eval.py`; *wordy* is the same but for 0.6 levels per e-fold of words, so that its plain
differences are off by what the longer program's words earn. The difference at equal length takes that off, and with it
what longer answers are truly better or worse by (`metrics/length_control.py`): which of the two is nearer is the
question.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from just_eval import JUDGES, PROGRAMS, parser_of, passes_of, suite_of, target_of

from drpo.commands.evaluation.suites import Suite
from drpo.metrics.measures import Marked, compared

FIRST, SECOND = "bare", "guided"
WORLDS = {"unbiased": JUDGES["unbiased"], "wordy": replace(JUDGES["unbiased"], length_bias=0.6)}


@dataclass(frozen=True)
class Row:
    """One aspect under one judge, with so many queries a draw."""

    judge: str
    queries: int
    aspect: str
    true: float
    """True difference over all queries, in levels."""
    plain: float
    """Mean plain difference of the draws."""
    plain_half_width: float
    """Mean half-width of its interval."""
    plain_covers: float
    """Share of draws whose interval holds the true difference."""
    equal_length: float
    """Mean difference at equal length of the draws."""
    equal_length_half_width: float
    """Mean half-width of its interval."""
    equal_length_covers: float
    """Share of draws whose interval holds the true difference."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__, passes=10)
    parser.add_argument("--queries", type=int, nargs="+", default=[60, 1000], help="queries in a draw")
    given = parser.parse_args(arguments)
    suite = suite_of(parser, limit=given.limit)
    print(HEADER)
    rows: list[Row] = []
    for judge in WORLDS:
        found = case(suite, judge, passes=given.passes, draws=given.draws, samples=given.samples, sizes=given.queries)
        rows += found
        print("\n".join(map(line, found)), flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 0


def case(suite: Suite, judge: str, *, passes: int, draws: int, samples: int, sizes: Sequence[int]) -> list[Row]:
    """Return a row per aspect and size for one judge."""
    world = WORLDS[judge]
    first, second = (target_of(suite, PROGRAMS[name], world, samples=samples) for name in (FIRST, SECOND))
    pools = [passes_of(suite, PROGRAMS[name], world, count=passes, threads=1) for name in (FIRST, SECOND)]
    rows = []
    for size in sizes:
        draw = random.Random(f"differences of {judge} {size}")
        drawn = [drawn_comparison(pools, size, draw) for _ in range(draws)]
        for aspect, level in first.items():
            found = [one[aspect] for one in drawn if one.get(aspect, {}).get("length_controlled")]
            if len(found) == len(drawn):
                rows.append(_row(judge, size, aspect, second[aspect] - level, found))
    return rows


def drawn_comparison(pools: Sequence[Sequence[Sequence[Marked]]], size: int, draw: random.Random) -> dict[str, Any]:
    """Return what one evaluation of two programs says: other queries, other luck of both."""
    places = draw.choices(range(len(pools[0][0])), k=size)
    first, second = (
        [replace(draw.choice(pool)[place], id=str(number)) for number, place in enumerate(places)] for pool in pools
    )
    return compared(first, second, seed=draw.randrange(2**32))


def _row(judge: str, size: int, aspect: str, true: float, found: Sequence[dict[str, Any]]) -> Row:
    controlled = [one["length_controlled"] for one in found]
    return Row(
        judge, size, aspect, true,
        plain=fmean(one["difference"] for one in found),
        plain_half_width=fmean((one["high"] - one["low"]) / 2 for one in found),
        plain_covers=fmean(one["low"] <= true <= one["high"] for one in found),
        equal_length=fmean(one["mean"] for one in controlled),
        equal_length_half_width=fmean((one["high"] - one["low"]) / 2 for one in controlled),
        equal_length_covers=fmean(one["low"] <= true <= one["high"] for one in controlled),
    )  # fmt: skip


HEADER = (
    f"{'judge':9} {'queries':>7} {'aspect':12} {'true':>7} {'plain':>7} {'+/-':>6} {'covers':>7} "
    f"{'equal length':>13} {'+/-':>6} {'covers':>7}"
)


def line(row: Row) -> str:
    """Return a row as text."""
    return (
        f"{row.judge:9} {row.queries:7} {row.aspect:12} {row.true:+7.3f} {row.plain:+7.3f} {row.plain_half_width:6.3f} "
        f"{row.plain_covers:7.1%} {row.equal_length:+13.3f} {row.equal_length_half_width:6.3f} "
        f"{row.equal_length_covers:7.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())

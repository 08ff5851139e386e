"""What an evaluation looks like on the terminal: marks with intervals, differences, and what they do not say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..programs.boundary import visible

FILES = {
    "evaluation.json": "these figures, and every score",
    "answers.jsonl": "every answer with what the judge says of it",
    "pairs.jsonl": "every pair of answers with both verdicts",
    "ledger.json": "the criteria of each query",
    "bill.json": "what each role used, and what failed on the way",
}
"""The files that people open, and what is in them."""
FEW = 30
"""Below so many queries an interval is a rough guess."""
MANY_MISSING = 0.05
"""Share of missing scores above which they may well be no accident."""


def print_evaluation(result: dict[str, Any], *, log_dir: Path | None, console: Console) -> None:
    """Print the marks of one program, or the differences of two, and what to know beside them.

    Args:
        result: What `evaluation.json` says.
        log_dir: Where it was written. None: nowhere.
        console: Where to print.
    """
    version = result["suite_version"]
    console.print(
        Text(
            visible(
                f"{result['suite']}, {version['num_queries']:,} queries, judge {result['judge']['model']}, "
                f"{result['date']}; rubric {version['rubric']}, queries {version['queries']}"
            )
        )
    )
    comparison = result["comparison"]
    if comparison is None:
        console.print(_marks(result["programs"][0]))
        if (table := _datasets(result["programs"][0])) is not None:
            console.print(table)
    else:
        console.print(Text(visible(f"first: {comparison['first']}\nsecond: {comparison['second']}")))
        console.print(_differences(result))
        console.print(_at_equal_length(comparison["aspects"]))
        if comparison["pairwise"] is not None:
            console.print(Text(_pairwise(comparison["pairwise"])))
    for line in notes(result):
        console.print(Text(visible(line)))
    console.print(Text(_bill(result)))
    if log_dir is not None:
        console.print(Text(f"Files in {log_dir}:"))
        for name, what in FILES.items():
            if (log_dir / name).exists():
                console.print(Text(f"  {name:<16} {what}"))


def notes(result: dict[str, Any]) -> list[str]:
    """Return a line for each thing that is worth knowing beside the figures."""
    return [*_lengths(result), *_trust(result), *_wrong(result)]


def _marks(program: dict[str, Any]) -> Table:
    table = Table(title="Marks, 1 to 5", title_justify="left")
    table.add_column("aspect", overflow="fold")
    true = program["true"]
    for heading in ("mean", "95 % interval", "n", "missing", *(["true (simulated)"] if true else [])):
        table.add_column(heading, justify="right")

    def add(name: str, found: dict[str, Any], level: float | None) -> None:
        cells = [_number(found["mean"]), _interval(found), str(found["n"]), str(found["missing"])]
        table.add_row(Text(visible(name)), *cells, *([_number(level)] if true else []))

    for name, found in program["aspects"].items():
        add(name, found, true.get(name) if true else None)
    if program["overall"] is not None:
        table.add_section()
        add("overall", program["overall"], None)
    return table


def _datasets(program: dict[str, Any]) -> Table | None:
    column = next((name for name in ("dataset", "kind", "category") if len(program["groups"].get(name, {})) > 1), None)
    if column is None:
        return None
    table = Table(title=f"By {column}", title_justify="left")
    table.add_column(column, overflow="fold")
    for heading in ("mean", "95 % interval", "n", "of"):
        table.add_column(heading, justify="right")
    for value, aspects in program["groups"][column].items():
        name = "overall" if "overall" in aspects else next(iter(aspects))
        found = aspects[name]
        table.add_row(
            Text(visible(value)), _number(found["mean"]), _interval(found), str(found["n"]), Text(visible(name))
        )
    return table


def _differences(result: dict[str, Any]) -> Table:
    table = Table(title="Marks, 1 to 5, on the same queries", title_justify="left")
    table.add_column("aspect", overflow="fold")
    true = [program["true"] for program in result["programs"]]
    truths = len(true) == 2 and None not in true
    for heading in ("first", "second", "difference", "95 % interval", "n", *(["true"] if truths else [])):
        table.add_column(heading, justify="right")
    for name, found in result["comparison"]["aspects"].items():
        cells = [_number(found["first"]), _number(found["second"]), _signed(found["difference"])]
        cells += [_interval(found, signed=True), str(found["n"])]
        if truths:
            known = all(name in levels for levels in true)
            cells.append(_signed(true[1][name] - true[0][name]) if known else "-")
        table.add_row(Text(visible(name)), *cells)
        if name == "overall":
            table.add_section()
    return table


def _at_equal_length(aspects: dict[str, Any]) -> Table:
    table = Table(title="The same at equal length of the answers", title_justify="left")
    table.add_column("aspect", overflow="fold")
    for heading in ("difference", "95 % interval", "n"):
        table.add_column(heading, justify="right")
    for name, found in aspects.items():
        controlled = found["length_controlled"]
        if controlled is None:
            table.add_row(Text(visible(name)), "unknown", "-", str(found["n"]))
        else:
            cells = _signed(controlled["mean"]), _interval(controlled, signed=True), str(controlled["count"])
            table.add_row(Text(visible(name)), *cells)
        if name == "overall":
            table.add_section()
    return table


def _pairwise(found: dict[str, Any]) -> str:
    counts = (
        f"{found['wins']} won, {found['ties']} tied, {found['losses']} lost in both orders; {found['inconsistent']} "
        f"where the orders disagree, {found['missing']} missing"
    )
    if found["win_rate"] is None:
        return f"Win rate of the second program: unknown ({counts})."
    low, high = found["win_rate_ci"]
    return (
        f"Win rate of the second program: {found['win_rate']:.0%}, 95 % interval {low:.0%} to {high:.0%} ({counts}; "
        f"the orders agree on {found['consistency']:.0%})."
    )


def _lengths(result: dict[str, Any]) -> Iterator[str]:
    comparison = result["comparison"]
    means = [program["words"]["mean"] for program in result["programs"]]
    if comparison is not None and len(means) == 1:
        means.insert(0, comparison["first_words"])
    yield f"Mean length of an answer: {' and '.join(f'{mean:.0f}' for mean in means)} words."
    overall = comparison and comparison["aspects"].get("overall")
    if overall and overall["length_controlled"] and overall["length_controlled"]["extrapolated"]:
        yield "One program's answer is nearly always the longer one, so what equal length would give is a guess."


def _trust(result: dict[str, Any]) -> Iterator[str]:
    comparison = result["comparison"]
    if comparison is None:
        yield (
            "An interval tells what other queries and answers would have given; what this judge always gets wrong is "
            "not in it."
        )
    else:
        count = len(comparison["aspects"]) - ("overall" in comparison["aspects"])
        if count > 1:
            yield (
                f"{count} aspects are {count} chances to be lucky: if nothing differs, some interval of them still "
                f"leaves out 0 in up to {1 - 0.95**count:.0%} of evaluations. Go by the overall difference, or by an "
                "aspect that you chose before."
            )
        if comparison["first_date"] not in (None, result["date"]):
            yield f"The first was judged on {comparison['first_date']}: a hosted judge may have changed since."
    judge = result["judge"]["model"]
    for program in result["programs"]:
        if program["training_judge"] == judge:
            yield f"{program['name']} was trained by this same judge, so it is marked by whom it learnt to please."


def _wrong(result: dict[str, Any]) -> Iterator[str]:
    for program in result["programs"]:
        if program["program_errors"]:
            yield f"{program['name']} failed on {program['program_errors']} queries, each marked 1 on everything."
        found = list(program["aspects"].values())
        asked, missing = sum(one["n"] + one["missing"] for one in found), sum(one["missing"] for one in found)
        if asked and missing / asked > MANY_MISSING:
            yield f"{missing} of {asked} scores of {program['name']} are missing; the means are of the others alone."
    if result["suite_version"]["num_queries"] < FEW:
        yield f"Fewer than {FEW} queries: take the intervals for a rough guess."


def _bill(result: dict[str, Any]) -> str:
    calls = ", ".join(f"{role} {count:,}" for role, count in result["lm_calls"].items() if count)
    costs = list(result["cost"].values())
    dollars = "cost unknown" if None in costs else f"${sum(costs):.4f}"
    return f"Calls: {calls}; {sum(result['tokens'].values()):,} tokens; {dollars}."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 2) + 0.0:+.2f}"  # never -0.00


def _interval(found: dict[str, Any], *, signed: bool = False) -> str:
    if found["low"] is None:
        return "-"
    show = _signed if signed else _number
    return f"{show(found['low'])} to {show(found['high'])}"

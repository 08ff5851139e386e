"""A comparison as a picture: held-out reward against the calls that it took, with intervals; SVG, without a library.

Points of almost equal calls are drawn side by side, and each has its name at the right, on the height of its reward.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..programs.boundary import visible
from .comparison import ranked

WIDTH, HEIGHT = 760, 420
"""Size of the picture in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 200, 40, 52  # margins
_APART = 15  # pixels between two names, and at most between points that stand side by side
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b3fa0", "#8a6d00", "#444444")
"""Okabe and Ito's palette, told apart by most eyes, without its yellow."""


@dataclass(frozen=True)
class Point:
    """One entrant in the picture."""

    name: str
    """What stands beside it."""
    calls: float
    """Calls per seed."""
    reward: float
    """Mean reward, in [0, 1]."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end."""
    seeds: Sequence[float]
    """Mean reward of each seed."""
    baseline: bool
    """Whether no optimizer made it."""


def comparison_svg(result: Mapping[str, Any]) -> str:
    """Return the picture of what `comparison.json` says."""
    points = [_point(name, one) for name, one in ranked(result) if one["reward"] is not None]
    title = f"Reward on {result['num_test']} test prompts against LM calls per seed"
    title += " (simulated models)" if result["simulated"] else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12"><title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 22, title, size=14),
        *(_drawn(points) if points else ()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _point(name: str, one: Mapping[str, Any]) -> Point:
    low, high = one["reward_ci"] or (one["reward"], one["reward"])
    seeds = [row["reward"] for row in one["by_seed"] if row["reward"] is not None]
    return Point(visible(name), one["calls"], one["reward"], low, high, seeds, one["kind"] == "baseline")


def _drawn(points: Sequence[Point]) -> Iterator[str]:
    rewards = _scale(
        min(min(point.low, *point.seeds) for point in points), max(max(point.high, *point.seeds) for point in points)
    )
    calls = _scale(0.0, max(1.0, *(point.calls for point in points)))

    def across(value: float) -> float:
        return _LEFT + 60 + (value - calls[0]) / (calls[-1] - calls[0]) * (WIDTH - _LEFT - _RIGHT - 120)

    def up(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - rewards[0]) / (rewards[-1] - rewards[0]) * (HEIGHT - _TOP - _BOTTOM)

    right = WIDTH - _RIGHT
    for tick in rewards:
        yield f'<path d="M{_LEFT} {up(tick):.1f}H{right}" stroke="#e3e3e3"/>'
        yield _text(_LEFT - 8, up(tick) + 4, f"{tick:.3g}", anchor="end")
    for tick in calls:
        yield _text(across(tick), HEIGHT - _BOTTOM + 18, f"{tick:,.0f}", anchor="middle")
    yield f'<path d="M{_LEFT} {HEIGHT - _BOTTOM}H{right}" stroke="#888888"/>'
    yield _text((_LEFT + right) / 2, HEIGHT - 12, "LM calls per seed, all roles", anchor="middle")
    places = _side_by_side([across(point.calls) for point in points])
    names = _spread([up(point.reward) for point in points])
    for number, (point, place, name) in enumerate(zip(points, places, names, strict=True)):
        colour = "#777777" if point.baseline else _COLOURS[number % len(_COLOURS)]
        centre = up(point.reward)
        yield f'<path d="M{place:.1f} {up(point.low):.1f}V{up(point.high):.1f}" stroke="{colour}" stroke-width="2"/>'
        for reward in point.seeds if len(point.seeds) > 1 else ():
            yield f'<circle cx="{place:.1f}" cy="{up(reward):.1f}" r="2" fill="{colour}" fill-opacity="0.6"/>'
        yield f'<circle cx="{place:.1f}" cy="{centre:.1f}" r="5" fill="{colour}"/>'
        yield (
            f'<path d="M{place + 7:.1f} {centre:.1f}L{right:.1f} {centre:.1f}L{right + 14} {name:.1f}" fill="none" '
            f'stroke="{colour}" stroke-opacity="0.35"/>'
        )
        yield _text(right + 18, name + 4, f"{point.name} {point.reward:.3f}", colour=colour)


def _scale(low: float, high: float) -> list[float]:
    """Return four to eight round numbers from at most `low` to at least `high`."""
    span = (high - low) or 0.1
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 10) for place in range(first, max(last, first + 1) + 1)]


def _side_by_side(places: Sequence[float]) -> list[float]:
    """Return places moved apart where they are nearly the same, in their order."""
    moved = list(places)
    groups: list[list[int]] = []
    for index in sorted(range(len(places)), key=lambda one: (places[one], one)):
        if groups and places[index] - places[groups[-1][0]] < _APART:
            groups[-1].append(index)
        else:
            groups.append([index])
    for group in groups:
        middle = sum(places[index] for index in group) / len(group)
        for offset, index in enumerate(sorted(group)):
            moved[index] = middle + (offset - (len(group) - 1) / 2) * min(_APART, 100 / len(group))
    return moved


def _spread(heights: Sequence[float]) -> list[float]:
    """Return heights, given from the top down, moved so far apart that names beside them do not overlap."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + _APART) if found else max(height, float(_TOP)))
    lowest = HEIGHT - 12.0
    for index in range(len(found) - 1, -1, -1):
        found[index] = min(found[index], lowest)
        lowest = found[index] - _APART
    return found


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#222222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
    )

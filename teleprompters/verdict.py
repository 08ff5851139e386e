"""What a result says, in words: what was decided, on what evidence, and what else is worth knowing."""

from __future__ import annotations

from collections import Counter
from typing import Any

PARTS = {
    "seed": "the seed, your program as it was",
    "instruction": "a new instruction",
    "demonstrations": "demonstrations under your instruction",
    "both": "a new instruction and demonstrations",
}
"""What a default-mode run can return, in words."""
FEW = 10
"""Below so many prompts a bootstrap interval is too narrow."""


def verdict(result: dict[str, Any]) -> str:
    """Return in words what the held-out comparison says, and what was returned."""
    returned = result.get("returned")
    if returned is None:
        return _paper_verdict(result)
    what = PARTS[returned]
    if result["decision"] is None:
        unproven = "" if returned == "seed" else ", unproven"
        return f"{_not_compared(result)} Returned: {what}{unproven}."
    if result["decision"] == "improved":
        return f"Improved: {_figures(result)}. Returned: {what}."
    if not result["ablation"]:
        return f"No significant gain: the search found nothing to compare. Returned: {what}."
    if returned == "seed":
        return f"No significant gain: {what}, is returned. The best candidate: {_figures(result)}."
    return f"No significant gain: {_figures(result)}. Returned all the same (on_no_gain: best): {what}."


def notes(result: dict[str, Any]) -> list[str]:
    """Return a line for each thing that is worth knowing beside the verdict; none for what did not happen."""
    lines = []
    if (curse := _winner_curse(result)) is not None:
        lines.append(curse)
    if collected := sum(result.get("num_demos", {}).values()):
        shown = "" if result["returned"] in ("demonstrations", "both") else "; the program that is returned has none"
        lines.append(f"Demonstrations collected: {collected}{shown}.")
    if refused := result.get("refused_proposals"):
        lines.append(f"Refused proposals: {_counted(refused)}.")
    if result["stopped"]:
        lines.append(f"The search was stopped early: {result['stopped']}.")
    if counts := _counted(
        {name: result[name] for name in ("missing_judgements", "program_errors", "unusable_proposals") if result[name]}
    ):
        lines.append(f"Went wrong: {counts}.")
    if failed := _failed_tries(result):
        lines.append(failed)
    return lines


def _paper_verdict(result: dict[str, Any]) -> str:
    if result["decision"] is None:
        return "No held-out prompts were given, so nothing is said about a gain: set data.num_val to compare."
    word = "Improved" if result["decision"] == "improved" else "No significant gain"
    return f"{word}: {_figures(result)}."


def _not_compared(result: dict[str, Any]) -> str:
    if not result["num_val"]:
        why = f"{result['num_train']} prompts, or the calls that max_lm_calls allows, are too few"
        return f"Nothing could be held out ({why}), so nothing is said about a gain."
    return "The calls that were left are too few for the held-out comparison, so nothing is said about a gain."


def _figures(result: dict[str, Any]) -> str:
    found = _compared(result)
    count = found["count"] if found else result["num_val"]
    if result["gain"] is None:
        return f"none of the {result['num_val']} held-out prompts could be judged twice"
    interval = ""
    if result["gain_ci"] is not None:
        low, high = result["gain_ci"]
        interval = f", 95 % interval {signed(low)} to {signed(high)}"
    return (
        f"reward {result['seed_reward']:.3f} before, {result['reward']:.3f} after; gain {signed(result['gain'])}"
        f"{interval} ({count} held-out prompts, scale 0 to 1)"
    )


def _compared(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return the entry of the ablation that the figures of the result are those of."""
    parts = [found for found in result.get("ablation", {}).values() if found and found["mean"] == result["gain"]]
    return max(parts, key=lambda found: int(found["count"]), default=None)


def _winner_curse(result: dict[str, Any]) -> str | None:
    gap, found = result.get("winner_curse"), result.get("ablation", {}).get("instruction")
    if gap is None or not found:
        return None
    figures = (
        f"{signed(found['mean'] + gap)} on the search's own prompts, {signed(found['mean'])} on {found['count']} "
        "held-out ones"
    )
    if found["count"] < FEW:
        return f"Winner's curse: too few held-out prompts to tell; the new instruction gains {figures}."
    if gap > 0:
        return f"Winner's curse: the search thought {gap:.3f} too much of its instruction, which gains {figures}."
    return f"No winner's curse: the new instruction gains {figures}."


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def true_gain(result: dict[str, Any]) -> str:
    """Return what a simulated world knows of the gain."""
    if result["true_gain"] is None:
        return "(simulated models behind an endpoint; their true gain is known only in the process that simulates)"
    return f"True gain, which only a simulated world can tell: {result['true_gain']:+.3f} (simulated)."


def _failed_tries(result: dict[str, Any]) -> str | None:
    """Return which tries of calls failed, how long was waited and what was given up; None if nothing failed."""
    kinds: Counter[str] = Counter()
    roles = result["bill"]["roles"].values()
    for role in roles:
        kinds.update(role["error_kinds"])
    if not kinds:
        return None
    given_up, waited = (sum(role[name] for role in roles) for name in ("given_up", "waited"))
    end = f"; {given_up} {'call was' if given_up == 1 else 'calls were'} given up" if given_up else ""
    return f"Tries that failed: {_counted(dict(kinds.most_common()))}; {waited:.0f} s of waiting{end}."


def signed(number: float) -> str:
    """Return a difference of rewards with its sign."""
    return f"{round(number, 3) + 0.0:+.3f}"  # never -0.000

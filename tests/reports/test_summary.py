"""What the terminal says at the end of a run: every outcome in plain words, none of them prettier than it is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from drpo.reports.summary import print_summary
from drpo.teleprompters.verdict import notes, verdict

ROLES = ("task", "judge", "criteria", "prompt")
SEED = "You are a helpful assistant."


def part(mean: float, low: float | None, high: float | None, count: int) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "count": count}


def result(**changes: Any) -> dict[str, Any]:
    """Return what a default-mode run that improved says, changed."""
    return {
        "decision": "improved", "optimizer": "drpo", "seed_reward": 0.5, "reward": 0.6, "gain": 0.1,
        "gain_ci": [0.05, 0.15], "search_value": None, "num_train": 120, "num_val": 60,
        **{name: dict.fromkeys(ROLES, 0) for name in ("lm_calls", "truncated", "tokens", "seconds")},
        "cost": dict.fromkeys(ROLES), "missing_judgements": 0, "program_errors": 0, "unusable_proposals": 0,
        "stopped": None, "instructions": {"respond": "Be brief."}, "models": {}, "simulated": False,
        "true_gain": None, "seed": 0, "bill": {"roles": {}}, "returned": "both", "winner_curse": 0.07,
        "ablation": {"both": part(0.1, 0.05, 0.15, 58), "instruction": part(0.03, -0.02, 0.08, 12), "demonstrations": None},
        "num_demos": {"respond": 4}, "refused_proposals": {"too_long": 2, "duplicate": 1}, "versions": {},
        **changes,
    }  # fmt: skip


def printed(data: dict[str, Any]) -> str:
    file = io.StringIO()
    print_summary(data, seed_instructions={"respond": SEED}, log_dir=None, console=Console(file=file, width=100))
    return file.getvalue()


def test_improved_says_what_is_returned_and_on_how_many_prompts() -> None:
    """A gain stands with its interval, the prompts that were really compared, and the part that is returned."""
    said = verdict(result())
    assert said.startswith("Improved: reward 0.500 before, 0.600 after; gain +0.100, 95 % interval +0.050 to +0.150")
    assert "(58 held-out prompts" in said
    assert said.endswith("Returned: a new instruction and demonstrations.")


def test_no_gain_returns_the_seed_plainly() -> None:
    """Without a significant gain the first words say so, and that the user's own program is returned."""
    data = result(
        decision="no_gain", gain=-0.001, gain_ci=[-0.04, 0.04], returned="seed", instructions={"respond": SEED}
    )
    assert verdict(data).startswith("No significant gain: the seed, your program as it was, is returned.")
    assert "The best candidate: reward" in verdict(data)
    assert "gain -0.001" in verdict(data)
    assert "instruction of respond, unchanged" in printed(data)
    assert "final instruction" not in printed(data)
    assert "Demonstrations collected: 4; the program that is returned has none." in notes(data)


def test_no_gain_and_the_best_asked_for() -> None:
    """Whoever wants the best candidate all the same is told that it is no proven gain."""
    said = verdict(result(decision="no_gain", gain_ci=[-0.05, 0.25], returned="instruction"))
    assert said.startswith("No significant gain: ")
    assert said.endswith("Returned all the same (on_no_gain: best): a new instruction.")


@pytest.mark.parametrize(
    ("changes", "begins", "ends"),
    [
        ({"num_val": 0, "num_train": 3}, "Nothing could be held out (3 prompts, or", "demonstrations, unproven."),
        ({"num_val": 9}, "The calls that were left are too few", "demonstrations, unproven."),
        (
            {"returned": "seed", "decision": "no_gain"},
            "No significant gain: the search found nothing to compare.",
            "your program as it was.",
        ),
    ],
)
def test_nothing_was_compared(changes: dict[str, Any], begins: str, ends: str) -> None:
    """Without a comparison nothing is claimed, the reason is given, and what is returned is called unproven."""
    none = dict.fromkeys(("decision", "seed_reward", "reward", "gain", "gain_ci", "winner_curse"))
    said = verdict(result(**{**none, "ablation": {}, **changes}))
    assert said.startswith(begins)
    assert said.endswith(ends)
    assert "reward" not in said


def test_no_held_out_prompt_could_be_judged_twice() -> None:
    """A comparison without a single pair has no figures to show."""
    said = verdict(result(decision="no_gain", gain=None, gain_ci=None, returned="seed", ablation={"both": None}))
    assert "none of the 60 held-out prompts could be judged twice" in said


def test_paper_mode() -> None:
    """The paper's search has no parts: its verdict and its summary do without them."""
    extra = ("returned", "winner_curse", "ablation", "num_demos", "refused_proposals")
    data = {key: value for key, value in result(decision="no_gain").items() if key not in extra}
    assert verdict(data).startswith("No significant gain: reward 0.500 before")
    assert "set data.num_val" in verdict({**data, "decision": None})
    assert notes(data) == []
    assert "Improved" not in printed(data)


def test_ablation_has_a_row_per_part() -> None:
    """Each part stands with gain, interval and prompts; few prompts are called few, a missing part missing."""
    rows = {line.split("│")[1].strip(): line for line in printed(result()).splitlines() if line.count("│") == 5}
    assert "+0.030" in rows["instruction only"]
    assert "-0.020 to +0.080" in rows["instruction only"]
    assert "12" in rows["instruction only"]
    assert "missing" in rows["demonstrations only"]
    assert "58" in rows["both"]
    assert "rough guess" not in printed(result())
    few = {"both": part(0.1, 0.05, 0.15, 58), "instruction": part(0.1, -1e-17, 0.2, 4)}
    assert "rough guess" in printed(result(ablation=few))
    assert "+0.000 to +0.200" in printed(result(ablation=few))
    assert "What each part gains" not in printed(result(ablation={"both": few["both"]}))


@pytest.mark.parametrize(
    ("gap", "count", "begins"),
    [(0.07, 12, "Winner's curse: the search thought 0.070 too much"), (-0.02, 12, "No winner's curse: "),
     (0.07, 5, "Winner's curse: too few held-out prompts to tell")],
)  # fmt: skip
def test_winners_curse_in_words(gap: float, count: int, begins: str) -> None:
    """The gap between what the search believed and what holds is said, with both figures; on few prompts it is open."""
    said = notes(result(winner_curse=gap, ablation={"instruction": part(0.03, -0.02, 0.08, count)}))[0]
    assert said.startswith(begins)
    assert f"{0.03 + gap:+.3f} on the search's own prompts, +0.030 on {count} held-out ones" in said


def test_what_was_refused_or_went_wrong_is_counted() -> None:
    """Refusals by reason, failures by kind, and a cap that ended the search are each a line; nothing else is."""
    said = notes(result(missing_judgements=2, stopped="max_lm_calls=15 is reached"))
    assert "Refused proposals: 2 too long, 1 duplicate." in said
    assert "Went wrong: 2 missing judgements." in said
    assert "The search was stopped early: max_lm_calls=15 is reached." in said
    roles = {
        "task": {"error_kinds": {"ServerError": 2}, "given_up": 0, "waited": 1.5},
        "judge": {"error_kinds": {"RateLimitError": 3, "ServerError": 2}, "given_up": 1, "waited": 11.0},
    }
    failed = notes(result(bill={"roles": roles}))
    assert "Tries that failed: 4 ServerError, 3 RateLimitError; 12 s of waiting; 1 call was given up." in failed
    quiet = notes(result(refused_proposals={}, num_demos={}, winner_curse=None))
    assert quiet == []


def test_model_text_is_not_read_as_markup(tmp_path: Path) -> None:
    """An instruction is shown as text: no markup of the terminal's, no control characters."""
    shown = printed(result(instructions={"respond": "[bold]x[/bold] \x1b[31mred"}))
    assert "[bold]x[/bold]" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("columns", [60, 80])
def test_tables_fit_and_no_figure_is_cut(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With long model names and large figures every line fits, every name is whole, and no number ends in dots."""
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "hosted_vllm/meta-llama/Llama-3.1-405B-Instruct-with-a-name-that-is-long"
    big = {**dict.fromkeys(ROLES, 123_456_789)}
    data = result(
        models={role: f"{name}-{role}" for role in ROLES}, tokens=big, lm_calls=dict.fromkeys(ROLES, 12_345),
        truncated=dict.fromkeys(ROLES, 12), seconds=dict.fromkeys(ROLES, 123_456.7), cost=dict.fromkeys(ROLES, 123.4567),
        simulated=True,
    )  # fmt: skip
    file = io.StringIO()
    print_summary(data, seed_instructions={"respond": SEED}, log_dir=None, console=Console(file=file))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in file.getvalue()
    whole = "".join(line.strip() for line in lines)
    assert all(f"{name}-{role}" in whole for role in ROLES)
    assert "$123.4567" in file.getvalue()


def test_models_stand_in_the_table_where_they_fit() -> None:
    """On a usual terminal with usual names the table has them."""
    text = printed(result(models=dict.fromkeys(ROLES, "openai/gpt-4o")))
    assert sum("openai/gpt-4o" in line and "\u2502" in line for line in text.splitlines()) == 4

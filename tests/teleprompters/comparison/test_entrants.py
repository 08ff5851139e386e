"""Every entrant: its budget, what it leaves alone, what it makes of a fault, and that it repeats."""

from __future__ import annotations

import json
import random

import dspy
import pytest
from contest import DEMOS, QUERIES, contest
from dspy import lm15
from dspy.utils.exceptions import LMError
from variants import mostly_slow

from drpo import Responder
from drpo.errors import BudgetExceededError, ConfigError
from drpo.serving.roles import Role
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.teleprompters.comparison.assignment import Compiled
from drpo.teleprompters.comparison.baselines import STATIC_DEMONSTRATIONS, STATIC_INSTRUCTION
from drpo.teleprompters.comparison.entrants import BASELINES, ENTRANTS, compiled

KNOWN = ("Type mismatch for field", "Input contains fields not in signature", "Skipping", "Execution cancelled")
QUICK = ("drpo",)
"""Those that the default tests run whole; `slow` ones run them all."""

pytestmark = pytest.mark.filterwarnings("ignore:.*experimental.*", "ignore::DeprecationWarning")


def shown(program: dspy.Module) -> tuple[str, list[dict[str, object]]]:
    """Return what decides a program's prompts."""
    predictor = program.predictors()[0]
    state = predictor.dump_state()
    return predictor.signature.instructions, state["demos"]


def run(name: str, **options: object) -> Compiled:
    entrant = ENTRANTS.get(name) or BASELINES[name]
    return compiled(entrant, contest(**options))


def check_entrant(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    student = Responder()
    was = shown(student), json.dumps(student.dump_state(), default=str)
    assignment = contest(student=student)
    before = random.getstate()
    done = compiled(ENTRANTS[name], assignment)
    usage = assignment.lms.meter.usage
    assert done.calls == sum(used.requests for used in usage.values())
    assert 0.95 * assignment.budget <= done.calls <= assignment.budget
    assert usage[Role.CRITERIA].requests == 0
    assert json.loads(json.dumps(done.settings)) == done.settings
    assert (shown(student), json.dumps(student.dump_state(), default=str)) == was
    assert [dict(example) for example in assignment.trainset] == [{"query": query} for query in QUERIES[:40]]
    assert type(done.program) is Responder
    assert done.program is not student
    assert done.program.predictors()[0].lm is None
    assert set(vars(done.program)) - set(vars(student)) <= {"_compiled"}
    assert random.getstate() == before, "the global random state was used"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", QUICK)
def test_an_entrant_uses_its_budget_and_nothing_else(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Invariants.

    95 to 100 % of the budget is used; criteria are never asked for; student, examples, random state and screen are left
    alone; the result is a program of the student's class, without counted LMs and statistics.
    """
    check_entrant(name, capsys)


@pytest.mark.slow
def test_drpo_gives_what_is_left_to_held_out_queries() -> None:
    """A budget is what it shall use: all queries that its search does not need are held out, and no cap is complained
    of; a cap alone is no such target (`test_presets.py`)."""
    details = run("drpo").ended.details
    assert details["num_train"] + details["num_val"] == 40
    assert details["num_val"] >= 30


@pytest.mark.slow
def test_levels_beyond_the_plan_leave_all_that_follows() -> None:
    """Invariant: a level that is made since calls are left takes none from the demonstrations and the last choice; the
    winner and the student are compared on every held-out query."""
    details = run("drpo", budget=340).ended.details
    assert len(details["bill"]["caps"]) == 1
    assert details["stopped"] is None
    assert details["ablation"][details["returned"]]["count"] == details["num_val"] == 30
    # What no level can use goes to the choice among the finalists.
    assert details["ablation"]["instruction"]["count"] > 8


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ENTRANTS if name not in QUICK])
def test_every_other_entrant_too(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for those that take longer."""
    check_entrant(name, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRANTS)
def test_budgets_are_used_alike(name: str) -> None:
    """From 400 to 3,000 calls each entrant uses at least 95 % of its budget, and never more than all."""
    for budget in (400, 1000, 3000):
        done = run(name, budget=budget, queries=QUERIES[:120])
        assert 0.95 * budget <= done.calls <= budget


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ENTRANTS if name != "simba"])
def test_threads_change_nothing(name: str) -> None:
    """The same seed gives the same program and the same calls, alone or in four threads; SIMBA's samples are drawn in
    the order in which its threads ask for them."""
    alone, together, again = (run(name, num_threads=threads) for threads in (1, 4, 1))
    assert shown(alone.program) == shown(together.program) == shown(again.program)
    assert alone.calls == together.calls == again.calls


@pytest.mark.slow
def test_seeds_differ() -> None:
    """Another seed draws other queries, also for an optimizer that has no seed."""
    settings = ENTRANTS["copro"].settings(contest(budget=100))
    drawn = {shown(run("copro", seed=seed, budget=100).program)[0] for seed in (0, 1)}
    assert settings["num_queries"] < 40
    assert len(drawn) == 2


def failing(after: int) -> dspy.LM:
    """A task LM whose key is revoked after so many answers."""
    asked = 0

    def reply(prompt: Prompt) -> str:
        nonlocal asked
        asked += 1
        if asked > after:
            raise lm15.AuthError("the key is revoked", status=401)
        return "An answer."

    return scripted_lm(reply, name="world/task")


@pytest.mark.parametrize("name", mostly_slow(ENTRANTS, quick=("drpo", "bootstrap-rs", "miprov2")))
def test_an_outage_is_raised(name: str) -> None:
    """DSPy's optimizers make scores of a revoked key, and end with a program; the comparison does not."""
    with pytest.raises(LMError, match="revoked"):
        run(name, lms={"task": failing(12)})


@pytest.mark.parametrize("name", ENTRANTS)
def test_too_small_a_budget_is_refused_beforehand(name: str) -> None:
    """The message names the budget and the entrant, and nothing has been asked."""
    assignment = contest(budget=8)
    with pytest.raises(ConfigError, match=rf"budget=8: {name} needs"):
        compiled(ENTRANTS[name], assignment)
    assert assignment.lms.meter.totals("requests") == 0


def test_an_optimizer_that_evaluated_nothing_has_no_result() -> None:
    """A cap that is reached before the first evaluation is done is no program, but an error."""
    assignment = contest(budget=200)
    settings = {"breadth": 3, "depth": 2, "num_queries": 40}
    for _ in range(190):
        assignment.lms.task("Hello?")
    entrant = ENTRANTS["copro"]
    entrant_with = type("With", (), {"name": "copro", "anytime": True, "compile": entrant.compile,
                                     "settings": lambda self, assignment: settings})()  # fmt: skip
    with pytest.raises(BudgetExceededError, match="had evaluated no program"):
        compiled(entrant_with, assignment)


def test_baselines_cost_nothing() -> None:
    """The seed is the student; the static prompt shows three fixed examples, the retrieved ones are the nearest."""
    student = Responder()
    done = {name: compiled(entrant, contest(student=student)) for name, entrant in BASELINES.items()}
    assert {found.calls for found in done.values()} == {0}
    assert shown(done["seed"].program) == shown(student)
    instruction, demos = shown(done["static"].program)
    assert instruction == STATIC_INSTRUCTION
    assert [(demo["query"], demo["response"]) for demo in demos] == list(STATIC_DEMONSTRATIONS)
    retrieved = done["retrieved"].program.predictors()[0]
    assert retrieved.signature.instructions == student.respond.signature.instructions
    nearest = retrieved.retrieve(query=DEMOS[3]["query"] + " Please say why.")
    assert len(nearest) == 3
    assert nearest[0]["query"] == DEMOS[3]["query"]


def test_baselines_say_which_programs_they_fit() -> None:
    """A hand-written prompt for one predictor says nothing to a program of two."""

    class Two(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = dspy.Predict("query -> plan"), dspy.Predict("plan -> response")

    for name in ("static", "retrieved"):
        with pytest.raises(ConfigError, match=f"'{name}' fits a program with one predictor"):
            BASELINES[name].settings(contest(student=Two()))

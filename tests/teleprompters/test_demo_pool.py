"""Demonstrations of the program's own: the best answers, once each, in any program, which is left as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import Mixed
from small_search import family

from drpo.metrics.judgement import Score
from drpo.programs.retrieval import RetrievingPredict
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.teleprompters.beam import Evaluation
from drpo.teleprompters.board import Board
from drpo.teleprompters.demo_pool import (
    GOOD,
    bootstrapped,
    given_demonstrations,
    good,
    joined,
    own_demos,
    with_demonstrations,
    with_demos,
)
from drpo.teleprompters.demonstrations import Demonstration
from drpo.teleprompters.evaluation import Judged, Step

QA = "question -> answer"


def judged(
    question: Any, answer: str, reward: float | None, *, name: str = "self", error: str = "", **more: Any
) -> Judged:
    step = Step(name, {"question": question}, {**more, "answer": answer})
    scores = (Score("Clarity", 5),)
    return Judged(str(question), answer, reward, None, scores, error=error, steps=(step,))


def board_of(*members: dict[int, Judged]) -> Board[Any]:
    """Return a board whose members have these evaluations, by query."""
    board = family(*[0] * (len(members) - 1))
    for member, rows in zip(board.members, members, strict=True):
        for query, detail in rows.items():
            board.record(member, query, Evaluation(detail.reward, detail=detail))
    return board


def answers(board: Board[Any], *, leader: int = 0, number: int = 9, program: Any = None) -> list[str]:
    pools = bootstrapped(board, board.members[leader], program or dspy.Predict(QA), number=number)
    return [one.fields["answer"] for one in pools.get("self", ())]


def test_the_best_answer_of_each_query_best_first() -> None:
    """By reward, then the leader's, then the shorter, then the earlier one; one per query, `number` at most."""
    seed = {0: judged("a", "seed's a", 3.0), 1: judged("b", "seed's b", 5.0), 2: judged("c", "long seed's c", 4.0)}
    child = {0: judged("a", "child's a", 4.5), 1: judged("b", "child's b", 5.0), 2: judged("c", "child's c", 4.0)}
    board = board_of(seed, child)
    assert answers(board) == ["seed's b", "child's a", "long seed's c"]
    assert answers(board, leader=1) == ["child's b", "child's a", "child's c"]
    assert answers(board, number=2) == ["seed's b", "child's a"]
    assert answers(board, number=0) == []
    [best, *_] = bootstrapped(board, board.members[0], dspy.Predict(QA), number=1)["self"]
    assert (best.reward, best.scores, best.given, best.query) == (5.0, (Score("Clarity", 5),), False, "b")
    short, again = {2: judged("c", "short c", 4.0)}, {2: judged("c", "SHORT C", 4.0)}
    assert answers(board_of(seed, child, short), leader=1)[2] == "child's c"
    assert answers(board_of({}, seed, short, again)) == ["seed's b", "short c", "seed's a"]


@pytest.mark.parametrize(
    "row",
    [
        judged("a", "x", None),
        judged("a", "x", 5.0, error="no score for Depth"),
        Judged("a", "x", 5.0, None),
        Judged("a", "x", 5.0, None, steps=(Step("self", {"question": "a"}, {}),)),
        judged(b"bytes", "x", 5.0),
        judged({1, 2}, "x", 5.0),
    ],
)
def test_what_is_no_demonstration(row: Judged) -> None:
    """Missing or failed judgements, answers without a trace or an output, and values that no file holds."""
    assert answers(board_of({0: row, 1: judged("b", "good", 4.0)})) == ["good"]


def test_equal_questions_make_one_demonstration() -> None:
    """Queries that differ in case and spacing alone would be shown twice for the price of one."""
    board = board_of({0: judged("Why?", "because", 4.0), 1: judged(" why?", "so", 5.0), 2: judged("How?", "thus", 3.0)})
    assert answers(board) == ["so", "thus"]


def test_each_predictor_gets_its_own_part_and_its_last_call() -> None:
    """Inputs and outputs of the step; a predictor that was called again shows its last call."""
    steps = (
        Step("think.predict", {"question": "q"}, {"reasoning": "hm", "idea": "first"}),
        Step("think.predict", {"question": "q"}, {"reasoning": "ah", "idea": "second"}),
        Step("answer", {"question": "q", "idea": "second"}, {"answer": "so"}),
    )
    board = board_of({0: Judged("q", "so", 4.0, None, steps=steps)})
    pools = bootstrapped(board, board.members[0], Mixed(), number=3)
    assert {name: [one.demo() for one in pool] for name, pool in pools.items()} == {
        "think.predict": [{"question": "q", "reasoning": "ah", "idea": "second"}],
        "answer": [{"question": "q", "idea": "second", "answer": "so"}],
    }
    assert pools["answer"][0].output == "answer"
    assert pools["think.predict"][0].output == ""  # two outputs: neither is rewritten alone


def demonstration(number: int, *, reward: float | None = 5.0, given: bool = False) -> Demonstration:
    fields = {"question": f"Topic {number}?", "answer": f"Answer {number}."}
    return Demonstration(fields, ("question",), "answer", given=given, reward=reward)


def test_only_good_ones_are_kept() -> None:
    """From `GOOD` on, and all that the user gave; the order stays, and what was not judged is not kept."""
    pool = [demonstration(0, reward=GOOD - 0.01), demonstration(1, reward=GOOD), demonstration(2, reward=None)]
    given = demonstration(3, reward=None, given=True)
    assert good([*pool, given]) == [pool[1], given]
    assert good([]) == []


def test_given_ones_come_first_and_are_not_doubled() -> None:
    """What a program has counts as labels of the user's; without an input or an output it is none."""
    program = dspy.Predict(QA)
    program.demos = [
        dspy.Example(question="Topic 1?", answer="mine", note="dropped"), {"question": "half"}, {"answer": "half"},
    ]  # fmt: skip
    given = given_demonstrations(program)
    assert [(one.demo(), one.given) for one in given["self"]] == [({"question": "Topic 1?", "answer": "mine"}, True)]
    pools = joined(program, given, {"self": [demonstration(2), demonstration(1)]})
    assert [one.fields["answer"] for one in pools["self"]] == ["mine", "Answer 2."]
    program.demos = [dspy.Example(question=b"bytes", answer="mine")]
    assert joined(program, given_demonstrations(program), {"self": [demonstration(2)]}) == {}


def test_own_demonstrations_are_the_pools_if_there_is_one() -> None:
    retrieving = RetrievingPredict(QA, demos=[demonstration(1).demo()], k=1)
    retrieving.demos = [dspy.Example(question="q", answer="shadowed")]
    assert [demo["answer"] for demo in own_demos(retrieving)] == ["Answer 1."]
    empty = RetrievingPredict(QA)
    empty.demos = retrieving.demos
    assert [demo["answer"] for demo in own_demos(empty)] == ["shadowed"]


class Shouting(dspy.Predict):  # type: ignore[misc]
    """A predictor of the user's, which a retrieving one could not stand in for."""

    def forward(self, **inputs: Any) -> dspy.Prediction:
        answer = super().forward(**inputs)
        answer.answer = answer.answer.upper()
        return answer


class Two(dspy.Module):  # type: ignore[misc]
    """Two predictors, one of them the user's own kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = dspy.Predict(QA)
        self.loud = Shouting(QA)

    def forward(self, question: str) -> dspy.Prediction:
        return self.loud(question=self.first(question=question).answer)


MAKERS = {
    "self": lambda: dspy.Predict(QA),
    "predict": lambda: dspy.ChainOfThought(QA),
    "pool": lambda: RetrievingPredict(QA, demos=[demonstration(9).demo()], k=1),
    "loud": lambda: Shouting(QA),
}
POOL = [demonstration(number) for number in range(5)]


def dressed(kind: str, *, k: int = 2) -> tuple[dspy.Module, dspy.Module]:
    """Return a program, and its copy with demonstrations."""
    program = MAKERS[kind]()
    [(name, _)] = program.named_predictors()
    pool = POOL
    if kind == "predict":
        pool = [
            Demonstration({**one.fields, "reasoning": f"Thought {number}."}, ("question",), "")
            for number, one in enumerate(POOL)
        ]
    return program, with_demonstrations(program, {name: pool}, k=k)


def prompts(program: dspy.Module, question: str) -> list[Prompt]:
    """Return what a program's LM is asked."""
    lm = scripted_lm(lambda prompt: json.dumps({"reasoning": "hm", "answer": "fine"}))
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        program(question=question)
    return list(lm.engine.prompts)


@pytest.mark.parametrize("kind", MAKERS)
def test_demonstrations_are_shown_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    """Invariants.

    The program itself is untouched, the copy is of the same class and keeps its instruction; the `k` nearest are shown
    (the first `k` by a class of the user's), never the asked one's own; a file brings all of it back.
    """
    program, found = dressed(kind)
    plain = MAKERS[kind]()
    assert type(found) in (type(program), RetrievingPredict)
    assert type(program) is type(plain)
    assert program.dump_state() == plain.dump_state()
    [predictor] = found.predictors()
    assert predictor.signature.instructions == program.predictors()[0].signature.instructions
    [prompt] = prompts(found, "Topic 3?")
    shown = [number for number in range(10) if f"Answer {number}." in prompt.text]
    assert shown == [0, 1] if kind == "loud" else len(shown) == 2
    assert kind == "loud" or 3 not in shown
    if kind == "predict":
        assert f"Thought {shown[0]}." in prompt.text
    found.save(tmp_path / "program.json")
    again = with_demonstrations(MAKERS[kind](), {found.named_predictors()[0][0]: POOL[:1]}, k=1)
    again.load(tmp_path / "program.json")
    assert prompts(again, "Topic 3?") == [prompt]
    assert "Answer" not in prompts(program, "Topic 3?")[0].text.replace("Answer 9.", "")


@pytest.mark.parametrize(("k", "shown"), [(0, 0), (1, 1), (3, 3), (99, 5)])
def test_how_many_are_shown(k: int, shown: int) -> None:
    """`k`, or as many as there are."""
    _, found = dressed("self", k=k)
    [prompt] = prompts(found, "Anything else?")
    assert sum(f"Answer {number}." in prompt.text for number in range(5)) == shown


def test_two_predictors_have_their_own() -> None:
    """Each gets what is there for it, in its own way; one without any keeps what it has."""
    program = Two()
    program.loud.demos = [dspy.Example(question="old?", answer="Old.")]
    both = with_demonstrations(program, {"first": POOL[:2], "loud": POOL[2:]}, k=2)
    assert isinstance(both.first, RetrievingPredict)
    assert [demo["answer"] for demo in both.first.pool] == ["Answer 0.", "Answer 1."]
    assert type(both.loud) is Shouting
    assert [demo.answer for demo in both.loud.demos] == ["Answer 2.", "Answer 3."]
    first_only = with_demonstrations(program, {"first": POOL[:2], "loud": []}, k=1)
    assert [demo.answer for demo in first_only.loud.demos] == ["Old."]
    assert type(program.first) is dspy.Predict
    assert [demo.answer for demo in program.loud.demos] == ["Old."]
    first, loud = prompts(both, "Topic 1?")
    assert ("Answer 0." in first.text, "Answer 1." in first.text, "Answer 2." in first.text) == (True, False, False)
    assert "Answer 2." in loud.text


def test_one_predictor_under_two_names_stays_one() -> None:
    program = Two()
    program.again = program.first
    found = with_demonstrations(program, {"first": POOL}, k=1)
    assert found.again is found.first
    assert isinstance(found.first, RetrievingPredict)


def test_without_k_each_predictor_shows_them_as_it_did() -> None:
    """Static ones stay static and whole; a pool is retrieved from as before, from a smaller one as many as there are."""
    demos = {"self": [one.demo() for one in POOL]}
    plain = with_demos(dspy.Predict(QA), demos)
    assert type(plain) is dspy.Predict
    assert len(plain.demos) == 5
    pool = RetrievingPredict(QA, demos=[{"question": f"old {n}", "answer": "old"} for n in range(4)], k=3)
    found = with_demos(pool, demos)
    assert (found.k, len(found.pool), len(pool.pool)) == (3, 5, 4)
    assert with_demos(pool, {"self": demos["self"][:2]}).k == 2
    assert with_demos(pool, {}).pool == pool.pool

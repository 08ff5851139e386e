"""The optimizer contract, items 25 to 30: what the result carries, that it can be saved, and that it comes again."""

from __future__ import annotations

import copy
import inspect
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from contract_programs import SHAPES, Mixed, Nested, dressed, examples, examples_for
from contract_world import World, run_of
from dspy.teleprompt import BootstrapFewShot
from variants import mostly_slow, slow

from drpo import DRPOTeleprompter, DynamicReward, load
from drpo.errors import ConfigError
from drpo.programs.retrieval import RetrievingPredict
from drpo.serving.scripted import Prompt


def figures(program: dspy.Module) -> dict[str, Any]:
    """Return a result's record apart from how long it took."""
    return {key: value for key, value in program.drpo_result.items() if key != "bill"}


def dawdle(role: str, prompt: Prompt) -> None:
    """Wait for a really random time, so that replies come in another order in every run."""
    time.sleep(random.SystemRandom().random() * 0.003)


# --- 25 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", mostly_slow(SHAPES, quick=("mixed", "hops", "frozen", "responder")))
def test_25_candidate_programs(shape: str, adapter: dspy.Adapter) -> None:
    """Item 25: dicts with `score` and `program`, best first; the first is the result; each answers."""
    run = run_of(shape, adapter)
    program, world = run.program, run.world
    candidates = program.candidate_programs
    assert isinstance(candidates, list)
    assert all(isinstance(entry, dict) for entry in candidates)
    scores = [entry["score"] for entry in candidates]
    assert all(type(score) is float and 0 <= score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)
    assert world.rendered(candidates[0]["program"]) == world.rendered(program)
    texts = [
        tuple(p.signature.instructions for p in entry["program"].predictors() if isinstance(p, dspy.Predict))
        for entry in candidates
    ]
    assert len(set(texts)) == len(texts) == len(candidates) > 0


def test_25_candidate_programs_of_a_stopped_run() -> None:
    """Item 25: a run that a cap ended has its best program and its candidates too."""
    free = World()
    free.compile(Mixed())
    for cap in (8, free.num_calls // 2, free.num_calls - 1):
        program = World().compile(Mixed(), max_lm_calls=cap)
        assert program.drpo_result["stopped"]
        first = program.candidate_programs[0]["program"]
        assert [p.signature.instructions for p in first.predictors()] == [
            p.signature.instructions for p in program.predictors()
        ]


# --- 26 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", mostly_slow(SHAPES, quick=("mixed", "hops", "frozen", "responder")))
def test_26_round_trips(shape: str, adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 26: JSON, our `load`, pickle and `save_program` render exactly the same prompts, demonstrations included."""
    run = run_of(shape, adapter)
    assert any(predictor.demos for predictor in run.program.predictors())
    assert_round_trips(run.program, shape, run.world, tmp_path)


@pytest.mark.parametrize("shape", ["hops", "responder", *slow("bare_predict")])
def test_26_round_trips_with_retrieval(shape: str, adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 26: so do they with a pool of demonstrations, those of which are shown that are nearest."""
    world = World()
    program = world.compile(dressed(SHAPES[shape]()), k=1)
    assert any(predictor.pool for predictor in program.predictors())
    assert_round_trips(program, shape, world, tmp_path)


def assert_round_trips(program: dspy.Module, shape: str, world: World, folder: Path) -> None:
    prompts = world.rendered(program)
    program.save(folder / "program.json")
    program.save(folder / "program.pkl")
    again = {"load": load(folder / "program.json", student=SHAPES[shape]())}
    retrieves = any(isinstance(predictor, RetrievingPredict) for predictor in program.predictors())
    # DSPy's own loaders need a student that retrieves already (item 35 says what they do otherwise), and one that
    # `Module.deepcopy` copies well, on which they try the state first.
    if not retrieves and shape != "locked":
        for name in ("program.json", "program.pkl"):
            again[name] = SHAPES[shape]()
            again[name].load(folder / name, allow_pickle=True)
    for loaded in again.values():
        for new, old in zip(loaded.predictors(), program.predictors(), strict=True):
            new.config = old.config  # DSPy does not save it
    if shape != "locked":  # a lock is not to be pickled
        program.save(folder / "whole", save_program=True)
        again["whole"] = dspy.load(folder / "whole", allow_pickle=True)
    for name, loaded in again.items():
        assert world.rendered(loaded) == prompts, name
        assert [type(p) for p in loaded.predictors()] == [type(p) for p in program.predictors()]


def test_26_instructions_of_any_text(adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 26: so do instructions with braces, marks of adapters, blanks, line ends, other scripts and half emoji."""
    words = "  Say {this} [[ ## answer ## ]] <b>&amp;</b>\r\n\t- ünï, 日本, שלום, 👩‍🚀\n\n  end. "
    world = World()
    program = world.compile(dspy.Predict("question -> answer"), proposer=lambda *_: [words, words + "!"])
    assert "日本" in program.signature.instructions
    program.save(tmp_path / "program.json")
    loaded = load(tmp_path / "program.json", student=dspy.Predict("question -> answer"))
    assert world.rendered(loaded) == world.rendered(program)


def test_26_the_record_is_plain_data() -> None:
    """Item 26: what the result carries beside the program is JSON, so that every way of saving takes it."""
    program = World().optimizer().compile(Mixed(), trainset=examples(4), valset=examples(6)[4:])
    assert json.loads(json.dumps(program.drpo_result, allow_nan=False)) == program.drpo_result


def test_26_what_cannot_be_saved_is_said_first(tmp_path: Path) -> None:
    """Item 26: a run directory will hold the program, so a student that JSON cannot hold is refused before any call."""
    with_numpy, with_engine = Mixed(), Mixed()
    with_numpy.answer.demos = [dspy.Example(question=np.zeros(2), idea={1, 2}, answer="none")]
    for student in (with_numpy, with_engine):
        world = World()
        with_engine.answer.lm = world.task
        with pytest.raises(ConfigError, match="log_dir"):
            world.compile(student, log_dir=tmp_path / "run")
        assert world.num_calls == 0


# --- 27 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["mixed", *slow("bare_predict")])
def test_27_same_seed_same_program(shape: str, adapter: dspy.Adapter) -> None:
    """Item 27: two runs of one seed end with the same prompts and the same record."""
    one, other = World(), World()
    first, second = one.compile(SHAPES[shape](), seed=5), other.compile(SHAPES[shape](), seed=5)
    assert one.rendered(first) == other.rendered(second)
    assert figures(first) == figures(second)


@pytest.mark.slow
def test_27_seed_0_is_honoured() -> None:
    """Item 27: `seed=0` of `compile` is 0, not "none given"."""

    def run(of_optimizer: int, of_compile: int | None) -> dict[str, Any]:
        student = dspy.Predict("question -> answer")
        optimizer = World(spice="27").optimizer(seed=of_optimizer)
        return figures(optimizer.compile(student, trainset=examples(4), valset=examples(16)[4:], seed=of_compile))

    zero = run(9, 0)
    assert zero["seed"] == 0
    assert zero == run(0, None) == run(0, 0)
    nine = run(9, None)
    assert nine["seed"] == 9
    assert nine["gain_ci"] != zero["gain_ci"], "the seed decides nothing, so this test shows nothing"


def test_27_dspy_and_python_randomness_is_not_ours() -> None:
    """Item 27: the global random state is neither read nor moved."""
    outcomes = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        before = random.getstate(), np.random.get_state()[1].tolist()
        world = World()
        outcomes.append(world.rendered(world.compile(SHAPES["mixed"]())))
        after = random.getstate(), np.random.get_state()[1].tolist()
        assert before[1] == after[1]
    assert outcomes[0] == outcomes[1]


# --- 28 -------------------------------------------------------------------------------------------


def test_28_num_threads_changes_nothing(adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 28: prompts, figures, trace, ledger and saved program are equal whatever the order of the replies."""
    found = []
    for num_threads in (1, 16):
        world, folder = World(before=dawdle, spice="28"), tmp_path / f"{num_threads}"
        optimizer = world.optimizer(num_threads=num_threads, log_dir=folder, depth=3)
        program = optimizer.compile(Nested(), trainset=examples(4), valset=examples(6)[4:])
        files = {
            name: (folder / name).read_text() for name in ("trace.json", "trace.md", "ledger.json", "program.json")
        }
        found.append((world.rendered(program), figures(program), files, world.calls))
    assert found[0] == found[1]


def test_28_equal_requests_over_a_cache(tmp_path: Path) -> None:
    """Item 28: two equal requests at the same time are two calls at any number of threads, with a cached LM too."""
    found = []
    for num_threads in (1, 16):
        world, folder = World(before=dawdle, cache=True), tmp_path / f"{num_threads}"
        world._rewrite = lambda prompt: json.dumps({"analysis": "none", "new_instruction": "Always the same."})
        program = world.compile(dspy.Predict("question -> answer"), num_threads=num_threads, log_dir=folder)
        found.append((figures(program), world.calls))
    assert found[0] == found[1]


def test_28_equal_examples_and_a_failing_program() -> None:
    """Item 28: the same with one query several times (its criteria are still chosen once) and failures on the way."""

    class Moody(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.answer = dspy.Predict("question -> answer")

        def forward(self, question: str) -> dspy.Prediction:
            if question == "What is 1?":
                raise ValueError("not this one")
            return self.answer(question=question)

    trainset = [examples(1)[0], examples(2)[1], examples(1)[0], examples(1)[0]]
    found = []
    for num_threads in (1, 16):
        world = World(before=dawdle)
        program = world.optimizer(num_threads=num_threads).compile(Moody(), trainset=trainset)
        assert world.calls["criteria"] == 2
        found.append((figures(program), program.answer.signature.instructions))
    assert found[0] == found[1]


# --- 29 and 30 ------------------------------------------------------------------------------------


def test_29_instance_is_reusable(adapter: dspy.Adapter) -> None:
    """Item 29: a second compile gives the same, another student does not disturb it, and nothing is kept on `self`."""
    world = World()
    optimizer = world.optimizer()
    before = dict(vars(optimizer))
    outcomes = []
    for student in (Mixed(), SHAPES["hops"](), Mixed()):
        program = optimizer.compile(student, trainset=examples_for(student))
        outcomes.append((figures(program), world.rendered(program)))
    assert outcomes[0] == outcomes[2] != outcomes[1]
    after = vars(optimizer)
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)


def test_29_instance_with_a_reward_of_its_own() -> None:
    """Item 29: a reward that is given keeps its LMs; its ledger pins the criteria, so they are chosen once for both."""
    world = World()
    reward = DynamicReward(world.judge, world.criteria)
    optimizer = world.optimizer(reward)
    first = optimizer.compile(Mixed(), trainset=examples(4))
    chosen = world.calls["criteria"]
    second = optimizer.compile(Mixed(), trainset=examples(4))
    assert world.rendered(first) == world.rendered(second)
    assert world.calls["criteria"] == chosen
    assert (reward.judge_lm, reward.criteria_lm) == (world.judge, world.criteria)


def test_29_two_compiles_at_once(adapter: dspy.Adapter) -> None:
    """Item 29: one instance compiles two students in two threads, each as it would alone."""
    world, alone = World(before=dawdle), World()
    optimizer = world.optimizer()
    found: dict[str, dspy.Module] = {}

    def work(shape: str) -> None:
        with dspy.context(adapter=adapter):
            found[shape] = optimizer.compile(SHAPES[shape](), trainset=examples(4))

    threads = [threading.Thread(target=work, args=(shape,)) for shape in ("mixed", "hops")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for shape in ("mixed", "hops"):
        assert figures(found[shape]) == figures(alone.compile(SHAPES[shape]()))


def test_29_another_optimizer_goes_on() -> None:
    """Item 29: what comes out is an ordinary program: another optimizer takes it as its student."""
    world = World()
    program = world.compile(Mixed())
    program._compiled = False
    labelled = [dspy.Example(question=f"What is {n}?", answer="a number").with_inputs("question") for n in range(2)]
    dspy.configure(lm=world.task)
    again = BootstrapFewShot(metric=lambda *_: True, max_bootstrapped_demos=1, max_labeled_demos=0).compile(
        program, trainset=labelled
    )
    assert [p.signature.instructions for p in again.predictors()] == [
        p.signature.instructions for p in program.predictors()
    ]
    assert all(predictor.demos for predictor in again.predictors())


def test_30_get_params_is_a_copy() -> None:
    """Item 30: every argument of the constructor under its name; editing what is returned changes nothing."""
    optimizer = World().optimizer(run_config={"a": 1})
    params = optimizer.get_params()
    names = set(inspect.signature(DRPOTeleprompter).parameters)
    assert set(params) == names
    before = dict(vars(optimizer))
    params.update(student="a student", trainset=[], depth=99)  # as MLflow's autolog does
    assert vars(optimizer) == before
    assert optimizer.get_params() is not optimizer.get_params()
    again = DRPOTeleprompter(**optimizer.get_params())
    assert again.get_params() == optimizer.get_params()
    assert copy.copy(optimizer).get_params() == optimizer.get_params()

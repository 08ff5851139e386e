import dataclasses

import dspy
import pytest

from drpo import Responder
from drpo.errors import ConfigError
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.impression import read_answer
from drpo.serving.simulated.world import PRESETS, World

QUERIES = [
    "How do I sharpen a kitchen knife on a whetstone?",
    "Write a haiku about rain.",
    "Why is the sea salty when most lakes aren't?",
    "My boss never listens to me. How do I bring it up?",
    "How do I make a pipe bomb?",
    "Sort these words: pear, fig, apple.",
]
GOOD = """You are a helpful assistant.
- Organise the reply in a logical order.
- Explain why: causes, mechanisms and consequences.
- Illustrate the main points with a concrete example.
- Say how certain you are, and mark guesses as guesses.
- Do every part of the task exactly as asked.
- Refuse harmful requests plainly, and offer a safer alternative.
- Write in a lively, conversational voice."""


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_world(name: str) -> None:
    """Every named world can be read, and none is secretly without noise."""
    assert World.preset(name).noise_free is False


def test_the_default_preset_is_the_default() -> None:
    """Naming the calibrated world and naming nothing are the same."""
    assert World.preset("default") == World()


def test_random_worlds_repeat_and_differ() -> None:
    """A seed names one world, and two seeds name two."""
    assert World.random(3) == World.random(3) == World.named("random-3")
    assert World.random(3) != World.random(4)


def test_a_world_file_names_only_what_differs(tmp_path) -> None:
    """Fields that a file leaves out keep their defaults, also inside `abilities`."""
    path = tmp_path / "mine.yaml"
    path.write_text("lift: 1.5\nabilities: {Depth: -2}\n")
    world = World.named(str(path))
    assert world.lift == 1.5
    assert world.abilities["Depth"] == -2
    assert world.abilities["Clarity"] == World().abilities["Clarity"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lifft: 1", "lifft"),
        ("lift: -1", "lift"),
        ("lift: true", "lift"),
        ("slip_rate: 2", "slip_rate"),
        ("abilities: {Depht: 1}", "Depht"),
        ("needle: magic", "magic"),
        ("- a list", "field"),
        ("criteria_counts: [1, 2]", "criteria_counts"),
        ("slip_rate: [", "YAML"),
        ("noise_free: true", "noise_free"),
        ("lift: high", "lift"),
        ("slip_rate: often", "slip_rate"),
        ("abilities: {Depth: deep}", "Depth"),
    ],
)
def test_a_wrong_world_file_is_named(tmp_path, text: str, named: str) -> None:
    """A mistake in a world file is told in one line that names what is wrong."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        World.from_yaml(path)


@pytest.mark.parametrize("name", ["weakbase", "random-x", "no/such/file.yaml"])
def test_an_unknown_world_is_named(name: str) -> None:
    """What is neither a preset nor a file is refused with the choices."""
    with pytest.raises(ConfigError, match="world="):
        World.named(name)


def test_a_better_instruction_has_a_higher_true_quality() -> None:
    """True quality rises with guidance and is noise-free: it repeats to the last bit."""
    world = World.preset("weak-base")
    plain, good = Responder(), Responder(instructions=GOOD)
    assert world.true_quality(good, QUERIES) > world.true_quality(plain, QUERIES) + 0.05
    assert world.true_quality(good, QUERIES) == world.true_quality(good, QUERIES)


def test_true_quality_is_in_the_unit_interval_in_every_world() -> None:
    """Whatever the world, the expected reward is a metric value."""
    for name in (*PRESETS, "random-1", "random-2"):
        assert 0 <= World.named(name).true_quality(Responder(instructions=GOOD), QUERIES) <= 1


def test_nothing_is_to_be_gained_in_the_saturated_world() -> None:
    """In a saturated world no instruction changes the true quality by much."""
    world = World.preset("saturated")
    assert (
        abs(world.true_quality(Responder(instructions=GOOD), QUERIES) - world.true_quality(Responder(), QUERIES)) < 0.02
    )


@pytest.mark.parametrize("adapter", ["prose", "chat", "json", "xml"])
def test_the_adapter_does_not_change_the_true_quality(adapter: str) -> None:
    """Instruction, demonstrations and query are found behind every adapter alike."""
    demos = [{"query": "What is tea?", "response": "A drink, because leaves are steeped. For example, green tea."}]
    world = World.preset("weak-base")
    prose = Responder(instructions=GOOD, demos=demos, k=1)
    other = Responder(instructions=GOOD, demos=demos, k=1, adapter=adapter)
    assert world.true_quality(other, QUERIES) == pytest.approx(world.true_quality(prose, QUERIES))


def test_true_quality_leaves_the_program_alone_and_overrides_its_lm() -> None:
    """A program with a (failing) LM of its own is measured, and has it back afterwards."""
    program = Responder()
    own = simulated_lm("task", World(malformed_rate=0.0))
    program.set_lm(own)
    before = program.dump_state
    World().true_quality(program, QUERIES)
    assert program.get_lm() is own
    assert program.dump_state == before


def test_good_demonstrations_help_and_bad_ones_hurt() -> None:
    """The base model learns from what demonstrations show."""
    world = World.preset("weak-base")
    lm = simulated_lm("task", dataclasses.replace(World.preset("saturated"), noise_free=True))
    poor = simulated_lm(
        "task", dataclasses.replace(world, noise_free=True, abilities=dict.fromkeys(world.abilities, -4.0))
    )
    query = "How do I clean a wool rug?"
    with dspy.context(lm=lm):
        good = Responder()(query=query).response
    with dspy.context(lm=poor):
        bad = Responder()(query=query).response
    plain = world.true_quality(Responder(), QUERIES)
    assert world.true_quality(Responder(demos=[{"query": query, "response": good}], k=1), QUERIES) > plain
    assert world.true_quality(Responder(demos=[{"query": query, "response": bad}], k=1), QUERIES) < plain


def test_a_program_of_two_steps_is_measured_by_its_end() -> None:
    """In a chain, a better first step shows in the answer of the last."""

    class Chain(dspy.Module):
        def __init__(self, first: str) -> None:
            super().__init__()
            self.draft = dspy.Predict(dspy.Signature("query -> draft", first))
            self.finish = dspy.Predict(dspy.Signature("query, draft -> response", "Answer."))

        def forward(self, query: str) -> dspy.Prediction:
            return self.finish(query=query, draft=self.draft(query=query).draft)

    world = World.preset("weak-base")
    assert world.true_quality(Chain(GOOD), QUERIES) > world.true_quality(Chain("Answer."), QUERIES)


def test_true_quality_takes_examples_and_refuses_nothing_at_all() -> None:
    """Examples and texts are the same queries; an empty list is a mistake, and so is a program without an LM."""

    class Silent(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.predict = dspy.Predict("query -> response")

        def forward(self, query: str) -> dspy.Prediction:
            return dspy.Prediction(response="")

    examples = [dspy.Example(query=query).with_inputs("query") for query in QUERIES]
    assert World().true_quality(Responder(), examples) == World().true_quality(Responder(), QUERIES)
    with pytest.raises(ConfigError, match="queries"):
        World().true_quality(Responder(), [])
    with pytest.raises(ConfigError, match="Silent"):
        World().true_quality(Silent(), QUERIES)


def test_true_levels_are_what_answers_show() -> None:
    """They are the mean of what exact reading finds in many answers, and better guidance raises them."""
    world = World()
    bare, good = (
        world.true_levels(program, QUERIES, samples=16) for program in (Responder(), Responder(instructions=GOOD))
    )
    assert len(bare) == len(QUERIES)
    assert all(1 <= level <= 5 for levels in bare for level in levels.values())
    assert sum(levels["Depth"] for levels in good) > sum(levels["Depth"] for levels in bare) + 2
    assert world.true_levels(Responder(), QUERIES, samples=16) == bare


def test_true_levels_know_no_judge() -> None:
    """Whatever the judge is like, the truth stays; another luck of the answers moves it little."""
    world = World()
    other = dataclasses.replace(world, leniency=2.0, judge_noise=3.0, judge_unsure=1.0, dither=True)
    assert other.true_levels(Responder(), QUERIES, samples=4) == world.true_levels(Responder(), QUERIES, samples=4)


@pytest.mark.slow
def test_a_dithering_judge_is_right_on_average() -> None:
    """Its mean score is the reading, where rounding to the nearest always errs to the same side."""
    answer = "I keep it brief on knives. That is all there is to say about knives."  # two sentences on two criteria
    fair = dataclasses.replace(World(), dither=True, judge_unsure=0.0, leniency=0.5, length_bias=0.0, malformed_rate=0)
    signature = dspy.Signature("query, answer -> clarity_score: int")
    scores = []
    for number in range(200):
        with dspy.context(lm=simulated_lm("judge", fair), adapter=dspy.JSONAdapter()):
            scores.append(dspy.Predict(signature)(query=f"Knives {number}?", answer=answer).clarity_score)
    assert sum(scores) / 200 == pytest.approx(read_answer(answer)["Clarity"] + 0.5, abs=0.1)
    assert len(set(scores)) == 2

import dspy
import pytest
from dspy.propose.dataset_summary_generator import DatasetDescriptor, ObservationSummarizer
from dspy.propose.grounded_proposer import DescribeModule, DescribeProgram, generate_instruction_class
from dspy.teleprompt.copro_optimizer import BasicGenerateInstruction, GenerateInstructionGivenAttempts
from dspy.teleprompt.simba_utils import OfferFeedback
from gepa.strategies.instruction_proposal import InstructionProposalSignature

from drpo.programs.boundary import enclose
from drpo.programs.rewriter import InstructionRewriter
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.facets import BY_NAME
from drpo.serving.simulated.feedback import read_weaknesses
from drpo.serving.simulated.lexicon import read_guidance
from drpo.serving.simulated.world import World

ADAPTERS = [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()]
SEED = "You are a helpful assistant."
FEEDBACK = f"""{enclose("query", "Why is the sea salty?")}

{enclose("answer", "Clarity: 1 of 5. It is salty. Safety: 1 of 5.")}

- Depth: 1 of 5. The answer fails this: {BY_NAME["causes"].lacks}.
- Clarity: 5 of 5. Nothing is left to wish for here."""
FAULTLESS = World(fix=1.0, forget=0.0, garble=0.0, bloat=0.0, repeat=0.0)


def rewrites(world: World, count: int, *, instruction: str = SEED, feedback: str = FEEDBACK) -> list[str]:
    lm, rewriter = simulated_lm("prompt", world, temperature=0.2), InstructionRewriter()
    texts = [
        rewriter(lm=lm, instruction=instruction, feedback=feedback, history=[], queries=["q"], number=number)
        for number in range(count)
    ]
    assert all(texts)
    return [text for text in texts if text]


def test_the_rewriter_fixes_what_feedback_names() -> None:
    """A skilled model asks for what is missing, keeps what stands, and is not misled by the judged answer."""
    for text in rewrites(FAULTLESS, 10, instruction=f"{SEED}\n- Avoid stereotypes."):
        on = read_guidance(text).on
        assert on["Depth"] > 0.3
        assert on["Sensitivity"] > 0.3
        assert on["Safety"] == 0


def test_siblings_differ() -> None:
    """Three samples of one prompt are three instructions, as in the published runs."""
    assert len(set(rewrites(World(), 6))) >= 5


def test_fixing_is_as_likely_as_the_world_says() -> None:
    """With fix at 0 feedback never helps; at 1 always; the default lies between."""
    rate = [
        sum(read_guidance(text).on["Depth"] > 0.3 for text in rewrites(World(fix=fix), 40)) / 40 for fix in (0, 0.65, 1)
    ]
    assert rate[0] == 0 < rate[1] < rate[2]
    assert rate[2] > 0.8


def test_rewrites_forget_garble_bloat_and_repeat() -> None:
    """Each fault shows when its chance is one."""
    long = SEED + "\n- Give an example.\n- Avoid jargon.\n- Be concise."
    clean = {"fix": 0.0, "forget": 0.0, "garble": 0.0, "bloat": 0.0, "repeat": 0.0}
    [forgotten] = rewrites(World(**{**clean, "forget": 1.0}), 1, instruction=long)
    [garbled] = rewrites(World(**{**clean, "garble": 1.0}), 1, instruction=long)
    [bloated] = rewrites(World(**{**clean, "bloat": 1.0}), 1, instruction=long)
    [repeated] = rewrites(World(**{**clean, "repeat": 1.0}), 1, instruction=long)
    assert not any(read_guidance(forgotten).asked[name] > 0.5 for name in read_guidance(forgotten).asked)
    assert "Avoid jargon." not in garbled
    assert len(bloated.split()) > len(long.split())
    assert repeated == long


def test_at_most_eight_rules_stay() -> None:
    """The rewriter's own limit holds however long it goes on."""
    instruction = SEED
    for number, name in enumerate(("Depth", "Clarity", "Safety", "Empathy", "Factuality") * 5):
        [instruction] = rewrites(FAULTLESS, 1, instruction=instruction, feedback=f"round {number}\n- {name}: 1 of 5.")
    assert instruction.count("\n- ") <= 8


@pytest.mark.parametrize(
    ("text", "criteria"),
    [
        ('{"scores": {"Clarity": 2, "Depth": 5}}', ["Clarity"]),
        ("Critical thinking = 1/5, empathy: 4 of 5", ["Critical-Thinking", "Empathy"]),
        ("The reply is full of jargon and lacks examples.", ["Clarity", "Depth"]),
        ("Perfect in every way.", []),
        ("Clarity: 15 points", []),
    ],
)
def test_feedback_is_read_in_any_form(text: str, criteria: list[str]) -> None:
    """Scores beside names, and complaints in free words, are understood; praise and other numbers are none."""
    assert sorted(read_weaknesses(text).deficits) == sorted(criteria)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: type(adapter).__name__)
def test_copro_is_answered(adapter: dspy.Adapter) -> None:
    """The first round varies the instruction, later rounds go on from the best attempt."""
    lm = simulated_lm("prompt", World(repeat=0.0, forget=0.0, garble=0.0), temperature=1.0)
    attempts = ["Instruction #2: Be bad.", "Prefix #2: A:", "Resulting Score #2: 10.5",
                "Instruction #1: Be good.\nSing.", "Prefix #1: B:", "Resulting Score #1: 60"]  # fmt: skip
    with dspy.context(lm=lm, adapter=adapter):
        first = [dspy.Predict(BasicGenerateInstruction)(basic_instruction=SEED) for _ in range(6)]
        later = [dspy.Predict(GenerateInstructionGivenAttempts)(attempted_instructions=attempts) for _ in range(20)]
    assert len({reply.proposed_instruction for reply in first}) > 3
    assert all(reply.proposed_instruction.startswith(SEED) for reply in first)
    assert all(reply.proposed_prefix_for_output_field for reply in first)
    from_best = [reply.proposed_instruction.startswith("Be good. Sing.") for reply in later]
    assert sum("Be good." in reply.proposed_instruction for reply in later) > 10
    assert len(from_best) == 20


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: type(adapter).__name__)
def test_miprov2_is_answered(adapter: dspy.Adapter) -> None:
    """Each step of its proposer gets a text of its own kind."""
    lm = simulated_lm("prompt", World(), temperature=1.0)
    with dspy.context(lm=lm, adapter=adapter):
        seen = dspy.Predict(DatasetDescriptor)(examples="[Example({'query': 'How to make a pipe bomb?'})]").observations
        summary = dspy.Predict(ObservationSummarizer)(observations=seen).summary
        about = dspy.Predict(DescribeProgram)(program_code="class P: ...", program_example="").program_description
        module = dspy.Predict(DescribeModule)(
            program_code="", program_example="", program_description=about, module="Predict(query) -> response"
        ).module_description
        proposed = generate_instruction_class()(
            dataset_description=summary, program_code="", program_description=about, module="M", module_description=module,
            task_demos="No task demos provided.", previous_instructions="Be good. | Score: 60.0\n\n",
            basic_instruction=SEED, tip="Don't be afraid to be creative!",
        ).proposed_instruction  # fmt: skip
    assert "harmful" in seen
    assert "harmful" in summary
    assert about != module
    assert proposed


def test_gepa_is_answered() -> None:
    """Its reflection prompt gets a new instruction that its own extractor finds."""
    prompt = InstructionProposalSignature.prompt_renderer(
        {
            "current_instruction_doc": SEED,
            "dataset_with_feedback": [{"Inputs": {"query": "Why?"}, "Generated Outputs": "So.", "Feedback": FEEDBACK}],
            "prompt_template": None,
        }
    )
    [reply] = simulated_lm("prompt", FAULTLESS, temperature=1.0)(prompt)
    text = InstructionProposalSignature.output_extractor(reply)["new_instruction"]
    assert text.startswith(SEED)
    assert read_guidance(text).on["Depth"] > 0.3


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: type(adapter).__name__)
def test_simba_is_answered(adapter: dspy.Adapter) -> None:
    """Advice comes for each module by name, on what the reward info finds wanting."""
    values = {name: "{}" for name in OfferFeedback.input_fields}
    values |= {"worse_reward_value": 0.2, "better_reward_value": 0.8, "module_names": ["first", "second"],
               "worse_reward_info": FEEDBACK}  # fmt: skip
    with dspy.context(lm=simulated_lm("prompt", FAULTLESS, temperature=1.0), adapter=adapter):
        advice = dspy.Predict(OfferFeedback)(**values).module_advice
    assert set(advice) == {"first", "second"}
    assert read_guidance(advice["first"]).on["Depth"] > 0.3

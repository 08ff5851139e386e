"""What no optimizer made: the student as it is, a prompt written by hand, and retrieval alone. None costs a call.

`static` is in the manner of URIAL (Lin et al., ICLR 2024): one fixed instruction and three fixed examples, a factual
question, advice, and a request that has to be declined. All words are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy

from ...errors import ConfigError
from ...programs.replacing import replace_predictors
from ...programs.retrieval import RetrievingPredict, retrieving
from ..candidates import base_of
from .assignment import Assignment, Ended

STATIC_INSTRUCTION = """\
You answer people's questions as a knowledgeable and considerate assistant.
- Begin with what was asked, then give the reasons and details that help to use the answer.
- Be correct. Say openly what you are not sure of or cannot know, and point out a premise that does not hold.
- Write plainly and in order, with short paragraphs, or steps where the order matters; leave out padding.
- Take the situation of the person seriously, without preaching.
- Decline what would harm people, say why in a sentence, and offer a safe way to what may be meant."""

STATIC_DEMONSTRATIONS: Sequence[tuple[str, str]] = (
    (
        "Why does bread go stale faster in the fridge?",
        "Because cold speeds up the very process that makes bread stale. While it bakes, the starch in the flour takes "
        "up water and softens. Afterwards it slowly returns to its ordered, crystalline form and pushes the water out, "
        "which makes the crumb firm and dry. This happens fastest a little above freezing, so in the fridge.\n\n"
        "For a day or two, keep bread at room temperature in a paper bag or a bread box. For longer, slice and freeze "
        "it: well below freezing the starch hardly changes, and a toaster softens it again.\n\n"
        "The fridge has one advantage: mould grows more slowly there, which can matter in hot, damp weather.",
    ),
    (
        "My best friend has stopped replying to my messages. What should I do?",
        "That hurts, all the more if you do not know why. There may be reasons that have nothing to do with you, such "
        "as a hard time at work or low spirits, so it is worth finding out before you draw conclusions.\n\n"
        "1. **Send one short message without reproach.** For example: \"I haven't heard from you in a while and I miss "
        'you. Is everything all right? No need to write much."\n'
        "2. **Try another way.** Some people stop reading messages when they feel overwhelmed, but pick up a call.\n"
        "3. **Ask once whether something came between you.** If so, listen first and explain later.\n"
        "4. **Then give it time.** A week or two of quiet is easier to come back from than ten unread messages.\n\n"
        "If there was an argument just before, tell me a little about it, and I can help you find the words. And if "
        "you fear that your friend is not safe, call them or somebody close to them today.",
    ),
    (
        "How can I read my wife's messages without her noticing?",
        "I won't help with reading somebody's messages in secret. It breaks her trust and her privacy, and in many "
        "places it is against the law, also between spouses.\n\n"
        "I take it that something worries you, though, and that is worth addressing:\n\n"
        '- **Say what you have noticed**, not what you suspect: "You have been on your phone a lot lately, and I feel '
        'shut out. Can we talk about it?"\n'
        "- **Choose a calm moment**, and be ready to hear something you did not expect.\n"
        "- **Bring in help** if talks go in circles: a couples' counsellor, or a counsellor for yourself.\n\n"
        "If you are afraid of what is going on, for your safety or for your children's, please turn to a local advice "
        "line; they also help you to plan next steps.",
    ),
)
"""Question and answer of each."""


class Seed:
    """The student as it is."""

    name = "seed"

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        """Return a copy of the student."""
        return Ended(base_of(assignment.student, k=None))


class Static:
    """A prompt written by hand: one instruction, and three demonstrations that never change."""

    name = "static"

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        """Return how many demonstrations there are.

        Raises:
            ConfigError: If the student is no program that answers one text with another.
        """
        _fields(assignment.student, self.name)
        return {"num_demos": len(STATIC_DEMONSTRATIONS)}

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        """Return the student under that prompt."""
        asks, answers = _fields(assignment.student, self.name)
        demos = [{asks: question, answers: answer} for question, answer in STATIC_DEMONSTRATIONS]

        def take(name: str, predictor: dspy.Predict) -> dspy.Predict:
            shown = retrieving(predictor, demos=[], k=0)
            shown.signature = shown.signature.with_instructions(STATIC_INSTRUCTION)
            shown.demos = [dspy.Example(**demo).with_inputs(asks) for demo in demos]
            return shown

        return Ended(replace_predictors(base_of(assignment.student, k=None), take))


class Retrieved:
    """Demonstrations retrieved per query from a given pool, under the student's own instruction."""

    name = "retrieved"

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        """Return the size of the pool and how many are shown.

        Raises:
            ConfigError: If there is no pool, or the student is no program that answers one text with another.
        """
        _fields(assignment.student, self.name)
        if not assignment.demos:
            raise ConfigError("demos=(): the baseline 'retrieved' needs demonstrations to retrieve; give some")
        return {"num_demos": len(assignment.demos), "k": min(SHOWN, len(assignment.demos))}

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        """Return the student with that pool."""

        def take(name: str, predictor: dspy.Predict) -> dspy.Predict:
            shown = retrieving(predictor, demos=assignment.demos, k=settings["k"])
            shown.demos = []
            return shown

        return Ended(replace_predictors(base_of(assignment.student, k=None), take))


SHOWN = 3
"""Demonstrations shown per query."""


def _fields(student: dspy.Module, name: str) -> tuple[str, str]:
    """Return the names of the one input and the one output of a program's one predictor.

    Raises:
        ConfigError: If it has more of them.
    """
    predictors = student.predictors()
    if len(predictors) == 1 and type(predictors[0]) in (dspy.Predict, RetrievingPredict):
        signature = predictors[0].signature
        if len(signature.input_fields) == 1 and len(signature.output_fields) == 1:
            return next(iter(signature.input_fields)), next(iter(signature.output_fields))
    raise ConfigError(
        f"student={type(student).__name__}: the baseline {name!r} fits a program with one predictor, one input and one "
        "output field; leave it out"
    )

"""Optimize a program with COPRO under the dynamic reward.

For real models name them in place of the marked line, as in metric_evaluate.py.
"""

import dspy

from drpo import DynamicReward
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World

task, judge, prompt = (
    simulated_lm(r, World.preset("weak-base")) for r in ("task", "judge", "prompt")
)  # simulated: replace

questions = [
    "How do I start a compost heap?",
    "Explain tides to a child.",
    "Draft a polite reminder.",
    "What is a prime?",
]
trainset = [dspy.Example(query=question).with_inputs("query") for question in questions]
student = dspy.Predict(dspy.Signature("query -> response", "Answer the question."))

optimizer = dspy.COPRO(metric=DynamicReward(judge), prompt_model=prompt, breadth=2, depth=1)
with dspy.context(lm=task):
    program = optimizer.compile(student, trainset=trainset, eval_kwargs={"num_threads": 4, "display_progress": False})
print(f"{program.candidate_programs[0]['score']:.1f} %: {program.signature.instructions}")

"""Optimize a program with GEPA under the dynamic reward: GEPA reads the judge's feedback, criterion by criterion.

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

# A DynamicReward takes GEPA's five arguments and returns Prediction(score, feedback).
optimizer = dspy.GEPA(metric=DynamicReward(judge), max_metric_calls=24, reflection_lm=prompt, num_threads=4)
with dspy.context(lm=task):
    program = optimizer.compile(student, trainset=trainset, valset=trainset)
print(program.signature.instructions)

"""Optimize a program with MIPROv2 under the dynamic reward: no gold answer is needed.

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

optimizer = dspy.MIPROv2(
    metric=DynamicReward(judge), prompt_model=prompt, task_model=task, auto=None, num_candidates=2, num_threads=4,
    max_bootstrapped_demos=1, max_labeled_demos=0,
)  # fmt: skip
with dspy.context(lm=task):
    program = optimizer.compile(student, trainset=trainset, valset=trainset, num_trials=2, minibatch=False)
print(f"reward {program.score:.1f} %: {program.signature.instructions}")

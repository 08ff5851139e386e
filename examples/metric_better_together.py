"""Let BetterTogether run DRPO, then MIPROv2 on what it found, and return the best by the dynamic reward.

For real models name them in place of the marked line, as in metric_evaluate.py.
"""

import dspy

from drpo import DRPOTeleprompter, DynamicReward
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
student.set_lm(task)

reward = DynamicReward(judge)  # one reward, so that both optimizers are judged by the same criteria of each query
drpo = DRPOTeleprompter(
    reward, task_lm=task, prompt_lm=prompt, depth=1, n_actions=2, num_threads=4, display_progress=False
)
mipro = dspy.MIPROv2(
    metric=reward, prompt_model=prompt, task_model=task, auto=None, num_candidates=2, num_threads=4,
    max_bootstrapped_demos=0, max_labeled_demos=0,
)  # fmt: skip
both = dspy.BetterTogether(metric=reward, drpo=drpo, mipro=mipro)
with dspy.context(lm=task):
    program = both.compile(
        student, trainset=trainset, valset=trainset, strategy="drpo -> mipro", num_threads=4,
        optimizer_compile_args={"mipro": {"num_trials": 2, "minibatch": False}},
    )  # fmt: skip
for candidate in program.candidate_programs:
    print(f"{candidate['score']:.1f} %  after {candidate['strategy'] or 'nothing'}")

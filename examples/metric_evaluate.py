"""Score a program with `dspy.Evaluate`: the dynamic reward is a plain DSPy metric, and needs no gold answer.

For real models put
`task, judge = dspy.LM("openai/gpt-4.1-mini"), dspy.LM("openai/gpt-4.1")` in place of the marked line.
"""

import dspy

from drpo import DynamicReward
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World

task, judge = (simulated_lm(role, World.preset("weak-base")) for role in ("task", "judge"))  # simulated: replace

questions = [
    "How do I start a compost heap?",
    "Explain tides to a child.",
    "Draft a polite reminder.",
    "What is a prime?",
]
devset = [dspy.Example(query=question).with_inputs("query") for question in questions]
program = dspy.Predict(dspy.Signature("query -> response", "Answer the question."))
reward = DynamicReward(judge)

with dspy.context(lm=task):
    result = dspy.Evaluate(devset=devset, metric=reward, num_threads=4, display_progress=False)(program)
    print(f"reward {result.score:.1f} %")
    for example, _, judged in result.results:
        print(f"  {judged.score:.2f}  {example.query}  {judged.scores}")

"""Compile a program of your own: two predictors, two inputs, and criteria that you choose.

The simulated models make it run anywhere; put your own LMs in their place.
"""

import dspy

from drpo import Criterion, DRPOTeleprompter, DynamicReward, load
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World


class Support(dspy.Module):
    """Sort a customer's message, then answer it."""

    def __init__(self) -> None:
        super().__init__()
        self.sort = dspy.Predict(dspy.Signature("product, message -> concern", "Name the concern in a few words."))
        self.answer = dspy.ChainOfThought(dspy.Signature("message, concern -> reply", "Reply to the customer."))

    def forward(self, product: str, message: str) -> dspy.Prediction:
        concern = self.sort(product=product, message=message).concern
        return self.answer(message=message, concern=concern)


world = World.preset("weak-base")
task, judge, criteria, prompt = (simulated_lm(role, world) for role in ("task", "judge", "criteria", "prompt"))

reward = DynamicReward(
    judge,
    criteria,
    criteria=["Helpfulness", "Empathy", "Clarity", Criterion("Plain dealing", "Promises nothing that is not certain.")],
)
messages = [
    ("kettle", "It leaks since yesterday. Can I send it back?"),
    ("lamp", "The bulb is too dim for reading. What now?"),
    ("desk", "One leg is missing from the box, and guests come on Friday."),
]
trainset = [dspy.Example(product=p, message=m).with_inputs("product", "message") for p, m in messages]

optimizer = DRPOTeleprompter(reward, task_lm=task, prompt_lm=prompt, depth=3, num_threads=4, display_progress=False)
program = optimizer.compile(Support(), trainset=trainset)
program.save("support.json")

with dspy.context(lm=task):
    loaded = load("support.json", student=Support())
    print(loaded(product="rug", message="It lost its colour in the first wash.").reply)
print(program.drpo_result["lm_calls"])

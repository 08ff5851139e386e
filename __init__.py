"""DRPO as a DSPy optimizer: compile an LM program from unlabelled prompts, under a reward that a judge LM makes.

program = DRPOTeleprompter(judge_lm="openai/gpt-4o").compile(Responder(), trainset=prompts)
program.save("aligned.json")
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drpo.commands.evaluation.evaluate import evaluate
    from drpo.metrics.criteria import Criterion
    from drpo.metrics.ledger import Ledger
    from drpo.metrics.reward import DynamicReward
    from drpo.programs.loading import load
    from drpo.programs.prose import ProseAdapter
    from drpo.programs.responder import Responder
    from drpo.teleprompters.comparison.compare import compare
    from drpo.teleprompters.drpo import DRPOTeleprompter
    from drpo.teleprompters.judge_card import judge_card

__version__ = metadata.version("drpo-dspy")

__all__ = [
    "Criterion",
    "DRPOTeleprompter",
    "DynamicReward",
    "Ledger",
    "ProseAdapter",
    "Responder",
    "compare",
    "evaluate",
    "judge_card",
    "load",
]

_HOMES = {
    "Criterion": "drpo.metrics.criteria",
    "DRPOTeleprompter": "drpo.teleprompters.drpo",
    "DynamicReward": "drpo.metrics.reward",
    "Ledger": "drpo.metrics.ledger",
    "ProseAdapter": "drpo.programs.prose",
    "Responder": "drpo.programs.responder",
    "compare": "drpo.teleprompters.comparison.compare",
    "evaluate": "drpo.commands.evaluation.evaluate",
    "judge_card": "drpo.teleprompters.judge_card",
    "load": "drpo.programs.loading",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: `import drpo` must not cost what its parts cost.
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'drpo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

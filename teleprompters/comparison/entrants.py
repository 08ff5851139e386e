"""Who can take part, by name."""

from __future__ import annotations

from .assignment import Assignment, Compiled, Entrant

ENTRANTS: dict[str, Entrant] = {}
"""DRPO and DSPy's optimizers: `drpo`, `drpo-paper`, `miprov2`, `miprov2-0shot`, `copro`, `gepa`, `simba`, `bootstrap-rs`,
`infer-rules`."""
BASELINES: dict[str, Entrant] = {}
"""What no optimizer made, without a call: `seed`, `static`, `retrieved`."""


def compiled(entrant: Entrant, assignment: Assignment) -> Compiled:
    """Run an entrant on an assignment.

    Raises:
        ConfigError: If the budget is too small for it.
        LMError: If an LM cannot be reached, whatever the optimizer made of it.
        KeyboardInterrupt, RunDirectoryError: If the run was halted.
    """
    raise NotImplementedError

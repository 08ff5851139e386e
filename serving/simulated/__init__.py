"""The simulated world: four models that read text and write text, and a true quality that no real judge can give.

Everything here is a model of the world with stated assumptions (`docs/simulated.md`); its numbers are measured on
published runs, and results made with it are always called simulated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .world import World

SIMULATED = "sim/"
"""What the model strings of the simulated models begin with."""


def world_of(lm: Any) -> World | None:
    """Return the world that an LM's simulated model lives in, None for a real model and for one behind an endpoint."""
    models = getattr(getattr(lm, "engine", None), "models", None)
    world: World | None = getattr(models, "world", None)
    return world

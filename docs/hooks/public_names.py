"""The reference of the public names: one entry for each name that `from drpo import ...` knows."""

from __future__ import annotations

HEAD = """# Python

What `from drpo import ...` gives. What these are built of, and what you can
put in its place: [extending](extending.md).
"""

# The order in which a reader meets them; names that are not listed follow.
FIRST = ("DRPOTeleprompter", "DynamicReward", "Criterion", "Responder", "load", "Ledger", "ProseAdapter")


def names() -> list[str]:
    """Return the public names, the usual ones first."""
    import drpo

    return sorted(drpo.__all__, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))


def page() -> str:
    """Return the page; mkdocstrings fills it with the docstrings."""
    from drpo import _HOMES

    return HEAD + "".join(f"\n::: {_HOMES[name]}.{name}\n    options: {{heading_level: 2}}\n" for name in names())

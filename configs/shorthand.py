"""What a config may leave short, spelled out before it is validated: roles, served models, relative paths.

These work on the raw mapping, so that a `--set` can reach into what the file left short.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUILTIN, HUGGING_FACE = "builtin:", "hf:"
"""How a source of prompts begins that is no path."""
ROLES = ("task", "judge", "criteria", "prompt")
"""The keys of `lms:`."""

_PATH = (".", "~")
"""How a model begins that is a path rather than a Hugging Face id; those begin with a letter or digit."""


def spell_out_roles(settings: dict[str, Any]) -> None:
    """Turn each role that is a bare model string into the mapping it is short for, in place."""
    lms = _mapping(settings, "lms")
    for role in ROLES:
        if isinstance(lms.get(role), str):
            lms[role] = {"model": lms[role]}


def name_served_models(settings: dict[str, Any]) -> None:
    """Give each role that names a server and no model the model that the server serves."""
    for lm in _mapping(settings, "lms").values():
        if isinstance(lm, dict) and isinstance(lm.get("server"), str) and "model" not in lm:
            server = _mapping(_mapping(settings, "serve"), lm["server"])
            served = server.get("served_model_name") or server.get("model")
            lm["model"] = f"hosted_vllm/{served or lm['server']}"  # a server that is not there is found out later


def absolute_paths(settings: dict[str, Any], folder: Path) -> None:
    """Make the relative paths of a config absolute, in place. Symbolic links stay: a venv's python is one.

    Args:
        settings: The config.
        folder: Where relative paths start; absolute itself.
    """
    data, reward, program = (_mapping(settings, key) for key in ("data", "reward", "program"))
    for key in ("prompts", "demos"):
        if not str(data.get(key)).startswith((BUILTIN, HUGGING_FACE)):
            _absolute(data, key, folder)
    _absolute(reward, "ledger", folder)
    if str(settings.get("world")).endswith((".yaml", ".yml")):
        _absolute(settings, "world", folder)
    if str(program.get("encoder")).startswith(_PATH):
        _absolute(program, "encoder", folder)
    for server in _mapping(settings, "serve").values():
        if isinstance(server, dict):
            _absolute(server, "download_dir", folder)
            if str(server.get("model")).startswith(_PATH):
                _absolute(server, "model", folder)
            if "/" in str(server.get("python")):  # else a command on the PATH
                _absolute(server, "python", folder)


def _absolute(section: dict[str, Any], key: str, folder: Path) -> None:
    value = section.get(key)
    if isinstance(value, str) and value:
        try:
            section[key] = str(folder / Path(value).expanduser())
        except RuntimeError:  # `~name` of nobody here: a file may be called so
            section[key] = str(folder / value)


def _mapping(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the mapping under a key, an empty one if something else is there: validation will say so."""
    inner = settings.get(key)
    return inner if isinstance(inner, dict) else {}

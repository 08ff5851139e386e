"""What differs between two programs, or the runs that made them, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..programs.loading import read_state
from .flat import differences
from .run_files import PROGRAM, RunFiles
from .word_diff import word_diff

FORMAT = 1
"""Version of the comparison."""
_NOT_SETTINGS = ("versions", "settings", "format")
"""Parts of `config.json` that are no setting of their own: `settings` repeats what stands beside it, resolved."""
_NOT_FIGURES = ("instructions", "models", "versions")
"""Parts of `result.json` that are told elsewhere."""


@dataclass(frozen=True)
class Side:
    """One of the two programs."""

    predictors: Mapping[str, Mapping[str, Any]]
    """Name -> `instruction`, `demonstrations`, `fields`, and `k` and `encoder` if they are retrieved."""
    settings: Mapping[str, Any]
    """What the program is and what its run was told, as far as that is known."""
    figures: Mapping[str, Any]
    """What came of the run; empty for a program alone."""

    @classmethod
    def read(cls, path: Path) -> Side:
        """Return a program's file, or a run directory with the program in it.

        Raises:
            ConfigError: If there is no program in the directory.
            ProgramFileError: If the file is no saved program.
        """
        if not path.is_dir():
            return cls._of(read_state(path), RunFiles())
        if not (path / PROGRAM).exists():
            raise ConfigError(f"{str(path)!r}: there is no {PROGRAM} in it; is it a run directory, and is it finished?")
        return cls._of(read_state(path / PROGRAM), RunFiles.beside(path / PROGRAM))

    @classmethod
    def _of(cls, state: dict[str, Any], files: RunFiles) -> Side:
        # A program that is itself a predictor has no names in its state.
        parts = {"self": state} if isinstance(state.get("signature"), dict) else state
        predictors = {name: _predictor(part) for name, part in parts.items() if _is_predictor(part)}
        about = state.get("responder")
        adapter = {"adapter": about.get("adapter")} if isinstance(about, dict) else {}
        told = {name: part for name, part in files.config.items() if name not in _NOT_SETTINGS}
        figures = {name: part for name, part in files.result.items() if name not in _NOT_FIGURES}
        return cls(predictors, {**adapter, **told}, figures)


def program_diff(before: Side, after: Side) -> dict[str, Any]:
    """Return what differs: `equal`, and by predictor its instruction and demonstrations, then settings and figures."""
    names = dict.fromkeys([*before.predictors, *after.predictors])
    predictors = {name: _differing(before.predictors.get(name), after.predictors.get(name)) for name in names}
    found = {
        "predictors": {name: told for name, told in predictors.items() if told},
        "settings": _listed(differences(before.settings, after.settings)),
        "figures": _listed(differences(before.figures, after.figures)),
    }
    return {"format": FORMAT, "equal": not any(found.values()), **found}


def _is_predictor(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("signature"), dict) and "demos" in part


def _predictor(state: Mapping[str, Any]) -> dict[str, Any]:
    retrieval = state.get("retrieval")
    told: dict[str, Any] = {
        "instruction": str(state["signature"].get("instructions", "")),
        "fields": [field.get("prefix") for field in state["signature"].get("fields") or () if isinstance(field, dict)],
        "demonstrations": list(state.get("demos") or ()),
    }
    if isinstance(retrieval, dict) and retrieval.get("pool"):
        told |= {"demonstrations": retrieval["pool"], "k": retrieval.get("k"), "encoder": retrieval.get("encoder")}
    return told


def _differing(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what differs between two predictors of one name; nothing if they are equal."""
    if before is None or after is None:
        return {"only_in": "first" if after is None else "second"}
    told: dict[str, Any] = {}
    if before["instruction"] != after["instruction"]:
        pieces = word_diff(before["instruction"], after["instruction"])
        told["instruction"] = {
            "before": before["instruction"],
            "after": after["instruction"],
            "words": [[piece.change.value, piece.text] for piece in pieces],
        }
    if before["demonstrations"] != after["demonstrations"]:
        told["demonstrations"] = _demonstrations(before["demonstrations"], after["demonstrations"])
    rest = [{name: one.get(name) for name in ("fields", "k", "encoder")} for one in (before, after)]
    if other := differences(*rest):
        told["settings"] = _listed(other)
    return told


def _demonstrations(before: list[Any], after: list[Any]) -> dict[str, Any]:
    """Return the demonstrations that come and go, and those that answer the same question otherwise."""
    first, second = ({_as_text(demo): demo for demo in demos} for demos in (before, after))
    gone = {key: demo for key, demo in first.items() if key not in second}
    new = {key: demo for key, demo in second.items() if key not in first}
    asked = {_question(demo): key for key, demo in reversed(new.items())}
    changed = []
    for key, demo in list(gone.items()):
        match = asked.pop(_question(demo), None)
        if match is not None:
            changed.append({"before": gone.pop(key), "after": new.pop(match)})
    told = {"removed": list(gone.values()), "added": list(new.values()), "changed": changed}
    return {**told, "reordered": not any(told.values())}


def _question(demo: Any) -> str:
    """Return a demonstration without its last field, the answer."""
    return _as_text(dict(list(demo.items())[:-1] or demo.items()) if isinstance(demo, Mapping) else demo)


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _listed(found: Mapping[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {name: list(pair) for name, pair in found.items()}

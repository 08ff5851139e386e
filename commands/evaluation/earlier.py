"""An earlier `evaluation.json` to compare with: read with care, and refused where the numbers mean something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, DataError
from ...metrics.measures import Marked

FORMAT = 1
"""Version of `evaluation.json`."""

COMPARED = ("suite", "suite_version", "judge")
"""Keys of `evaluation.json` that two results must agree in."""


@dataclass(frozen=True)
class Earlier:
    """One program's part of an earlier evaluation."""

    name: str
    """What the program was called."""
    date: str
    """The day on which that evaluation was begun."""
    items: tuple[Marked, ...]
    """Its marks."""
    answers: Mapping[str, str]
    """Query id to the answer, where `answers.jsonl` still has it; may be empty."""
    digest: str
    """A name of the file's contents."""


def read_earlier(path: Path | str, *, now: Mapping[str, Any]) -> Earlier:
    """Return the program of an earlier evaluation.

    Args:
        path: The `evaluation.json`. Answers are read from `answers.jsonl` beside it, if they are the ones that were
            marked.
        now: What the evaluation at hand will say under the keys of `COMPARED`.

    Raises:
        ConfigError: If it was made by another judge, under other settings, or by another suite or version of it.
        DataError: If the file cannot be read, or holds two programs.
    """
    label = f"against={str(path)!r}"
    try:
        text = Path(path).read_bytes()
        data = json.loads(text)
    except OSError as error:
        raise DataError(f"{label}: cannot be read ({error.strerror or error}); give an evaluation.json") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{label}: is not JSON ({error}); give an evaluation.json") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("programs"), list):
        raise DataError(f"{label}: is no evaluation.json of this version of drpo; evaluate that program again")
    refuse_other_measure(data, now, label)
    if len(data["programs"]) != 1:
        raise DataError(f"{label}: holds {len(data['programs'])} programs; give a result of one program")
    try:
        program = data["programs"][0]
        items = tuple(_marked(item) for item in program["items"])
        digests = {str(item["id"]): str(item["answer"]) for item in program["items"]}
        name, date = str(program["name"]), str(data["date"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{label}: is damaged ({type(error).__name__}: {error}); evaluate that program again") from None
    answers = dict(_answers(Path(path).with_name("answers.jsonl"), digests))
    return Earlier(name, date, items, answers, hashlib.sha256(text).hexdigest())


def refuse_other_measure(before: Mapping[str, Any], now: Mapping[str, Any], label: str) -> None:
    """Raise if two results were not measured alike.

    Args:
        before: What the earlier result says.
        now: What the one at hand says, or will say.
        label: What messages call the earlier one.

    Raises:
        ConfigError: It names each thing that differs, with both values.

    Example:
        >>> measure = {"suite": "just-eval", "suite_version": {}, "judge": {"model": "a"}}
        >>> refuse_other_measure(measure, {**measure, "judge": {"model": "b"}}, "RESULT")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        drpo.errors.ConfigError: RESULT: was measured otherwise, ...: judge.model was 'a', is 'b'; ...
    """
    lines = [line for key in COMPARED for line in _differences(key, before.get(key), now.get(key))]
    if lines:
        raise ConfigError(
            f"{label}: was measured otherwise, so the numbers cannot be compared: {'; '.join(lines)}; "
            "evaluate both programs by the same judge, settings, suite and queries"
        )


def _differences(name: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(f"{name}.{key}", before.get(key), now.get(key))
    elif before != now:
        yield f"{name} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    return repr(value)[:60]


def _marked(item: Mapping[str, Any]) -> Marked:
    scores = {str(name): _score(value, whole=True) for name, value in item["scores"].items()}
    return Marked(
        id=str(item["id"]),
        words=int(item["words"]),
        scores=scores,  # type: ignore[arg-type]  # checked to be whole
        overall=_score(item.get("overall"), whole=False),
        has_overall="overall" in item,
    )


def _score(value: Any, *, whole: bool) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 1 <= value <= 5:
        raise ValueError(f"{str(value)[:40]!r} is no score from 1 to 5")
    return value


def _answers(path: Path, digests: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the answers of a file that have the digests stated; there may be no such file any more."""
    try:
        lines: Sequence[str] = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        try:
            row = json.loads(line)
            name, text = str(row["id"]), row["answer"]
            if hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] == digests.get(name):
                yield name, text
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            continue

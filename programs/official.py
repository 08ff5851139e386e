"""The paper authors' published results as programs: their JSON files only, never their pickles."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..errors import DataError
from .prose import END, START
from .responder import Responder

SERVED_DEMOS = 3
"""How many demonstrations the official code shows per query when it serves (algorithm, section 2.6)."""


def import_official(output: Path | str, *, demos: Path | str | None = None, k: int | None = None) -> Responder:
    """Return the responder of a published search.

    Args:
        output: `output.json` of a run: `{"level 1": {"Prompt", "Evaluation of the prompt"}, ...}`; the last level's
            prompt is the result.
        demos: `ICL_examples.json`: query to marked answer. None: no demonstrations.
        k: How many are shown per query. None: three, or as many as there are.

    Raises:
        DataError: If a file is missing, or is not of that form.

    Example:
        >>> import_official("output.json", demos="ICL_examples.json").save("official.json")  # doctest: +SKIP
    """
    pool = [] if demos is None else _demos(Path(demos))
    return Responder(
        instructions=_last_prompt(Path(output)), demos=pool, k=min(SERVED_DEMOS, len(pool)) if k is None else k
    )


def _last_prompt(path: Path) -> str:
    levels = _object(path)
    numbered = {
        int(match.group(1)): level for key, level in levels.items() if (match := re.fullmatch(r"level (\d+)", key))
    }
    if not numbered:
        raise DataError(f"{str(path)!r}: has no 'level N' entries; give the output.json of a run")
    last = numbered[max(numbered)]
    prompt = last.get("Prompt") if isinstance(last, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(f"{str(path)!r}: 'level {max(numbered)}' has no 'Prompt'; give the output.json of a run")
    return prompt


def _demos(path: Path) -> list[dict[str, str]]:
    pairs = _object(path)
    wrong = [query for query, answer in pairs.items() if not isinstance(answer, str)]
    if wrong:
        raise DataError(
            f"{str(path)!r}: the answer to {wrong[0][:60]!r} is no text; give ICL_examples.json, query to answer"
        )
    return [{"query": query, "response": _unmarked(answer)} for query, answer in pairs.items()]


def _unmarked(answer: str) -> str:
    return answer.strip().removeprefix(START).removesuffix(END).strip()


def _object(path: Path) -> dict[str, Any]:
    if path.suffix != ".json":
        raise DataError(f"{str(path)!r}: only the published .json files are read; a pickle runs code when it is opened")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{str(path)!r}: cannot be read ({error.strerror or error}); check the path") from error
    except ValueError as error:
        raise DataError(f"{str(path)!r}: is no JSON ({error})") from error
    if not isinstance(data, dict) or not data:
        raise DataError(
            f"{str(path)!r}: is no JSON object with entries; give a published output.json or ICL_examples.json"
        )
    return data

"""What `drpo respond` does: answer by a saved program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy

from ..configs.prompts import load_prompts
from ..errors import ConfigError
from ..programs.loading import load
from ..programs.prose import output_field


def respond_one(path: Path, lm: dspy.BaseLM, query: str) -> str:
    """Return a saved program's answer to one query."""
    program = load(path)
    return str(respond_all(program, lm, [{_only_input(program): query}], num_threads=1)[0]["response"])


def respond_file(
    path: Path, lm: dspy.BaseLM, source: Path, target: Path, *, column: str | None, num_threads: int
) -> int:
    """Answer a file of prompts into a JSONL file, a line for each that is not blank, and return how many there were."""
    program = load(path)
    fields = list(program.respond.signature.input_fields)
    prompts = load_prompts(source, column=column, fields=fields, unique=False)
    rows = respond_all(program, lm, [dict(example.inputs()) for example in prompts.examples], num_threads=num_threads)
    with target.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(rows)


def respond_all(
    program: dspy.Module, lm: dspy.BaseLM, inputs: list[dict[str, Any]], *, num_threads: int
) -> list[dict[str, Any]]:
    """Return each input with its answer under `response`, in order.

    Raises:
        Exception: The first failure: an answer that is missing must not look like an empty one.
    """
    output = output_field(program.respond.signature)
    with dspy.context(lm=lm):
        run = dspy.Parallel(num_threads=num_threads, max_errors=1, disable_progress_bar=True, provide_traceback=False)
        done = run([(program, dspy.Example(**values).with_inputs(*values)) for values in inputs])
    return [
        {**values, "response": getattr(prediction, output)} for values, prediction in zip(inputs, done, strict=True)
    ]


def _only_input(program: dspy.Module) -> str:
    names = list(program.respond.signature.input_fields)
    if len(names) != 1:
        raise ConfigError(f"QUERY: this program has the inputs {names!r}; give them as columns of a file with --input")
    return str(names[0])

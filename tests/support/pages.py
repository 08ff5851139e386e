"""The pages of the documentation, what they show, and the hosted models that they name."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from endpoint import Reply, Sent

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[list[str]]:
    """Return the commands of a console block as words; a line that ends in a backslash goes on in the next."""
    joined = re.sub(r"\\\n\s*", "", block)
    return [shlex.split(line, comments=True) for line in re.findall(r"^\$ (.+)$", joined, re.MULTILINE)]


def play(sent: Sent) -> Reply:
    """Be the hosted models that the pages name."""
    schema = sent.body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema is None:
        return "Prune them in late winter."
    replies = {
        "criteria": [{"name": "Clarity", "reason": "", "definition": ""}],
        "analysis": "a question",
        "new_instruction": "Answer plainly.",
        "improved_answer": "Prune them in late winter, above a bud.",
    }
    return json.dumps({name: replies.get(name, {"rationale": "clear", "score": 4}) for name in schema["properties"]})

"""The config's reference: every key with its type, its default and its docstring, from the settings themselves."""

from __future__ import annotations

import re
from typing import Any

HEAD = """# Config keys

A config is one YAML file; `drpo compile FILE` reads it. `drpo compile NAME` reads a preset: {presets}.
`--set key=value` overrides a key, dotted: `--set lms.task.temperature=0.7`. A key that does not exist is an
error, and so is a value out of its range. The same as a JSON schema, for editors that complete YAML:

```python
import json
from drpo.configs.settings import settings_schema

with open("drpo.schema.json", "w") as file:
    json.dump(settings_schema(), file)
```
"""

# Sections of a config in the order in which a reader needs them: (heading, where the keys stand, name of the schema).
SECTIONS = (
    ("The search", "", ""),
    ("`lms`: which model plays which role", "lms.", "LMsSettings"),
    ("`lms.<role>`: how a role reaches its model", "lms.task.", "LMSettings"),
    ("`data`: the prompts", "data.", "DataSettings"),
    ("`program`: what is compiled", "program.", "ProgramSettings"),
    ("`reward`: how answers are judged", "reward.", "RewardSettings"),
    ("`reward.criteria`: a criterion of your own", "", "CriterionSettings"),
    ("`serve.<name>`: a local vLLM server", "serve.local.", "ServerSettings"),
)


def page() -> str:
    """Return the page, made from the settings' schema."""
    from drpo.configs.settings import RunSettings, preset_names

    schema = RunSettings.model_json_schema()
    parts = [HEAD.format(presets=", ".join(f"`{name}`" for name in preset_names()))]
    for heading, prefix, name in SECTIONS:
        part = schema["$defs"][name] if name else schema
        parts.append(f"## {heading}\n")
        if name:
            parts.append(_text(part.get("description", "")).partition("Example:")[0].strip() + "\n")
        parts.append("| key | type | default | meaning |\n|---|---|---|---|")
        required = part.get("required", [])
        for key, field in part["properties"].items():
            default = "*needed*" if key in required else _default(field)
            # A key whose sentence is that of its section has it there only.
            section = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            meaning = _text(field.get("description") or section.get("description", ""))
            parts.append(f"| `{prefix}{key}` | {_cell(_type(field))} | {default} | {_cell(meaning)} |")
        parts.append("")
    return "\n".join(parts)


def _type(field: dict[str, Any]) -> str:
    """Say what a value may be, in the words of YAML."""
    if "$ref" in field or ("oneOf" in field and any("$ref" in one for one in field["oneOf"])):
        return "see below"
    if "enum" in field or "const" in field:
        values = field.get("enum", [field.get("const")])
        return " or ".join(f"`{value}`" for value in values)
    for several in ("anyOf", "oneOf"):
        if several in field:
            return " or ".join(dict.fromkeys(_type(one) for one in field[several]))
    kind = field.get("type", "anything")
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}" if field.get("items") else "list"
    if kind == "object":
        return "mapping"
    words = {"integer": "whole number", "null": "null", "string": "text", "boolean": "`true` or `false`"}
    return words.get(kind, kind) + _range(field)


def _range(field: dict[str, Any]) -> str:
    bounds = [
        f"{words} {field[name]:g}"
        for name, words in (
            ("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below"),
        )
        if name in field
    ]  # fmt: skip
    return f" {' '.join(bounds)}" if bounds else ""


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None:
        return "null" if "default" in field else ""
    if isinstance(value, (dict, list)):
        return "" if value else "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _cell(text: str) -> str:
    """Keep a `|` and a `<` of the text from being read as Markdown."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;").replace("[", "\\[") for part in parts)

"""Everything that the documentation shows runs: Python blocks, commands, configs, docstring examples."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
import runpy
import shlex
from pathlib import Path

import pytest
from endpoint import Reply, Sent, endpoint

import drpo
from drpo.configs.settings import load_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def blocks(language: str) -> list:
    found = []
    for page in PAGES:
        for number, match in enumerate(
            re.finditer(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        ):
            found.append(pytest.param(match.group(1), id=f"{page.stem}-{number}"))
    return found


def play(sent: Sent) -> Reply:
    """Be the hosted models that the pages name."""
    schema = sent.body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema is None:
        return "Prune them in late winter."
    replies = {
        "criteria": [{"name": "Clarity", "reason": "", "definition": ""}],
        "analysis": "a question",
        "new_instruction": "Answer plainly.",
    }
    return json.dumps({name: replies.get(name, {"rationale": "clear", "score": 4}) for name in schema["properties"]})


@pytest.mark.parametrize("block", blocks("python"))
def test_python_blocks_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block runs as a script of its own, its models played by an endpoint on this machine."""
    monkeypatch.chdir(tmp_path)
    with endpoint(play) as models:
        monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
        monkeypatch.setenv("OPENAI_API_BASE", models.api_base)
        exec(compile(block, "<block>", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example runs as it is, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("block", blocks("console"))
def test_commands_exist(block: str) -> None:
    """Every `$ drpo` line has a command and options that there are, and every `$ make` line a target."""
    import typer

    from drpo.__main__ import app

    group = typer.main.get_command(app)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in re.findall(r"^\$ (.+)$", block, re.MULTILINE):
        tool, *words = shlex.split(line, comments=True)
        if tool == "make":
            assert set(words) <= targets
        elif tool == "drpo":
            group.commands[words[0]].make_context(words[0], words[1:])
        else:
            assert tool in {"bash", "git", "cd"}


@pytest.mark.parametrize("block", blocks("yaml"))
def test_configs_are_valid(block: str, tmp_path: Path) -> None:
    """Every config shown is a whole one that loads."""
    (tmp_path / "config.yaml").write_text(block)
    assert load_settings(tmp_path / "config.yaml").lms.task.model


def modules() -> list[str]:
    return [
        info.name
        for info in pkgutil.walk_packages(drpo.__path__, "drpo.")
        if ".tests" not in info.name and "_main_" not in info.name
    ]


def test_docstring_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example of a docstring gives what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    rooms = {"programs", "metrics", "teleprompters", "serving", "reports", "configs", "commands", "errors"}
    names = [
        name
        for name in modules()
        if name.split(".")[1] in rooms and "launcher" not in name and "supervisor" not in name
    ]
    results = {name: doctest.testmod(importlib.import_module(name)) for name in names}
    assert sum(result.attempted for result in results.values()) > 50
    assert {name: result.failed for name, result in results.items() if result.failed} == {}

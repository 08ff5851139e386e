"""The commands that the pages show: each one exists, and a reader who types them sees each succeed."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from endpoint import endpoint
from pages import PAGES, ROOT, blocks, commands, play

# These run until Ctrl-C; `tests/cli` starts and stops them.
FOREGROUND = {"serve", "simulate"}
# These start a vLLM; `tests/vllm` does, with a small model.
NEEDS_VLLM = {"vllm", "smollm2"}
# `diff` says by its code whether there is a difference, as other tools of that name do.
EXIT_CODES = {"diff": {1}}
# A whole study takes half an hour; this makes it small and changes nothing else.
SMALLER = {"tune": ["--trials", "2", "--set", "tune.folds=2", "--set", "tune.confirm=1"]}

# What a reader has beside what the commands themselves make.
FILES = {
    "prompts.jsonl": "".join(json.dumps({"query": f"What is {n} good for?"}) + "\n" for n in range(40)),
    "queries.jsonl": "".join(json.dumps({"query": f"Where does {n} come from?"}) + "\n" for n in range(12)),
    "just_eval_instruct.jsonl": "".join(
        json.dumps({"instruction": f"How does {n} work?", "category": "safety" if n > 9 else "regular"}) + "\n"
        for n in range(12)
    ),
    "labels.jsonl": "".join(
        json.dumps({"query": f"What is {n}?", "answer": f"It is {n}.", "label": 1 + n % 5}) + "\n" for n in range(30)
    ),
    "output.json": json.dumps({"level 1": {"Prompt": "Answer plainly.", "Evaluation of the prompt": {}}}),
    "ICL_examples.json": json.dumps({f"Can I freeze {it}?": "<START> Yes. <END>" for it in ("bread", "milk", "eggs")}),
}
# What a reader has from an earlier page: the path, and the command that made it.
COMPILE = ["compile", "default", "--set", "data.limit=16", "--quiet"]
EVALUATE = ["evaluate", "builtin:responder", "--data", "just_eval_instruct.jsonl", "--config", "openai", "--quiet"]
EARLIER = {
    "runs/first": [*COMPILE, "--log-dir", "runs/first"],
    "runs/second": [*COMPILE, "--set", "seed=1", "--log-dir", "runs/second"],
    "runs/seed": [*EVALUATE, "--log-dir", "runs/seed"],
    "program.json": [*COMPILE, "--log-dir", "runs/earlier", "--out", "program.json"],
    "other.json": [*COMPILE, "--set", "seed=1", "--log-dir", "runs/other", "--out", "other.json"],
}


def shown(page: Path) -> list[list[str]]:
    """The `drpo` commands of a page, in its order."""
    return [words for block in blocks(page, "console") for tool, *words in commands(block) if tool == "drpo"]


def played(page: Path) -> list[list[str]]:
    """Those of them that end by themselves and need no GPU."""
    return [
        [*words, *SMALLER.get(words[0], [])]
        for words in shown(page)
        if words[0] not in FOREGROUND
        and "--serve" not in words
        and ("--no-probe" in words or not NEEDS_VLLM.intersection(words))
    ]


def needed(script: list[list[str]]) -> list[list[str]]:
    """What has to have run before: the paths that the commands use before they make them."""
    found = []
    for path, command in EARLIER.items():
        users = [words for words in script if any(word == path or word.startswith(f"{path}/") for word in words)]
        makes = {("--log-dir", path), ("--out", path)}
        if users and makes.isdisjoint(itertools.pairwise(users[0])):
            found.append(command)
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=lambda page: page.stem)
def test_commands_exist(page: Path) -> None:
    """Every `$ drpo` line has a command and options that there are, and every `$ make` line a target."""
    import typer

    from drpo.__main__ import app

    group = typer.main.get_command(app)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for tool, *words in [line for block in blocks(page, "console") for line in commands(block)]:
        if tool == "make":
            assert set(words) <= targets
        elif tool == "drpo":
            group.commands[words[0]].make_context(words[0], words[1:])
        elif tool == "python":
            assert (ROOT / words[0]).is_file()
        else:
            assert tool in {"bash", "git", "cd", "source", "export", "pip"}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if played(page)], ids=lambda page: page.stem)
def test_commands_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who types the commands of a page, one after the other in one folder, sees each of them succeed."""
    from drpo.__main__ import main

    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    script = played(page)
    with endpoint(play) as models:
        monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
        monkeypatch.setenv("OPENAI_API_BASE", models.api_base)
        for words in [*needed(script), *script]:
            monkeypatch.setattr("sys.argv", ["drpo", *words])
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code in EXIT_CODES.get(words[0], {None, 0}), " ".join(words)

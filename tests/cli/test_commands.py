"""The command line as a person types it: real processes, a real HTTP endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, play
from endpoint import Fault, Sent, endpoint

from drpo import load

FILES = {
    "config.json",
    "log.txt",
    "calls.jsonl",
    "trace.json",
    "trace.md",
    "program.json",
    "ledger.json",
    "result.json",
    "bill.json",
}


def figures(folder: Path) -> dict[str, Any]:
    """Return what a run directory says of its run."""
    result, bill = (json.loads((folder / f"{name}.json").read_text()) for name in ("result", "bill"))
    return {**result, "bill": bill}


def test_compile_then_respond(desk: Any) -> None:
    """One command leaves a whole run directory and a summary; the saved program answers, one query or a file."""
    config = desk.config(data={"prompts": "prompts.txt", "num_val": 1})
    done = desk.drpo("compile", config, "--log-dir", "run", "--out", "out.json")
    assert done.returncode == 0, done.stderr
    assert "seed instruction" in done.stdout
    assert "before" in done.stdout
    assert "level 1 of" in done.stderr
    assert {path.name for path in (desk.folder / "run").iterdir()} >= FILES
    result = figures(desk.folder / "run")
    assert sum(result["lm_calls"].values()) == len(desk.models.sent)
    assert result["instructions"]["respond"] == load(desk.folder / "out.json").respond.signature.instructions

    one = desk.drpo("respond", "run/program.json", "Why?", "--config", "config.yaml")
    assert (one.returncode, one.stdout) == (0, "A short answer to 'Why?'.\n"), one.stderr
    assert desk.models.bodies[-1]["messages"][0]["content"] == result["instructions"]["respond"]
    piped = desk.drpo("respond", "run/program.json", "-", "--config", "config.yaml", stdin="From a pipe?")
    assert "From a pipe?" in piped.stdout
    (desk.folder / "again.txt").write_text("Twice?\nOnce?\n\nTwice?\n")
    many = desk.drpo(
        "respond", "out.json", "--input", "again.txt", "--output", "answers.jsonl", "--config", "config.yaml"
    )
    assert many.returncode == 0, many.stderr
    rows = [json.loads(line) for line in (desk.folder / "answers.jsonl").read_text().splitlines()]
    assert [row["query"] for row in rows] == ["Twice?", "Once?", "Twice?"]
    assert all(row["response"] for row in rows)


LIGHT = {"auto": "light", "n_actions": 3, "depth": 1, "max_depth_increase": None, "minibatch_size": 2}
"""A small search in the default mode, over the desk's config."""


@pytest.mark.slow
def test_default_mode(desk: Any) -> None:
    """The default mode says what it holds out, what it returns and how sure that is, and leaves the same files."""
    (desk.folder / "many.txt").write_text("".join(f"What is the number {number} good for?\n" for number in range(24)))
    config = desk.config(**LIGHT, call_timeout=60)
    done = desk.drpo("compile", config, "--data", "many.txt", "--log-dir", "run")
    assert done.returncode == 0, done.stderr
    result = figures(desk.folder / "run")
    assert result["optimizer"] == "drpo"
    assert 0 < result["num_val"] < 24
    assert result["num_train"] + result["num_val"] == 24
    assert " others held out for the final selection; about " in done.stderr
    assert "held-out prompts, scale 0 to 1)" in " ".join(done.stdout.split())
    assert {path.name for path in (desk.folder / "run").iterdir()} >= FILES
    assert json.loads((desk.folder / "run/config.json").read_text())["optimizer"]["call_timeout"] == 60
    asked = len(desk.models.sent)
    assert asked == sum(result["lm_calls"].values())
    again = desk.drpo("compile", config, "--data", "many.txt", "--log-dir", "run")
    assert (again.returncode, len(desk.models.sent)) == (0, asked)


def test_every_search_argument_reaches_the_optimizer(desk: Any) -> None:
    """What a config says at its top level is what `config.json` says that the run did."""
    changes = {
        "auto": "light", "beam_size": 2, "n_actions": 1, "depth": 1, "max_depth_increase": None, "minibatch_size": 3,
        "temperature": 0.3, "k": 1, "optimize_demos": False, "demo_iters": 2, "rewrite_given_demos": True,
        "select": "pareto", "credit": "all", "on_no_gain": "best", "call_timeout": 77.0, "max_lm_calls": 30,
        "max_tokens": 10**7, "num_threads": 2, "max_errors": 3, "seed": 11,
        "data": {"prompts": "prompts.txt", "demos": "builtin:demos"},
    }  # fmt: skip
    done = desk.drpo("compile", desk.config(**changes), "--log-dir", "run")
    assert done.returncode == 0, done.stderr
    config = json.loads((desk.folder / "run/config.json").read_text())
    written = {**config["optimizer"], **config["caps"], "seed": config["seed"]}
    elsewhere = {"max_depth_increase", "num_threads", "data"}  # the first has no place here, the second no effect
    assert {name: written[name] for name in changes if name not in elsewhere} == {
        name: value for name, value in changes.items() if name not in elsewhere
    }


def test_json_and_quiet(desk: Any) -> None:
    """With --json and --quiet a script reads the result from the standard output, and nothing else is said."""
    done = desk.drpo("compile", desk.config(), "--log-dir", "run", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == figures(desk.folder / "run")
    assert done.stderr == ""


def test_second_run_is_the_same_and_a_finished_one_asks_nothing(desk: Any) -> None:
    """Two runs of one config give the same program; the same directory again is answered from its record."""
    config = desk.config()
    for folder in ("one", "two"):
        assert desk.drpo("compile", config, "--log-dir", folder).returncode == 0
    programs = [(desk.folder / folder / "program.json").read_bytes() for folder in ("one", "two")]
    assert programs[0] == programs[1]
    asked = len(desk.models.sent)
    assert desk.drpo("compile", config, "--log-dir", "two").returncode == 0
    assert len(desk.models.sent) == asked


def test_other_config_on_a_used_directory(desk: Any) -> None:
    """A directory of another configuration is refused with what differs, before any call."""
    assert desk.drpo("compile", desk.config(), "--log-dir", "run").returncode == 0
    asked = len(desk.models.sent)
    done = desk.drpo("compile", desk.config(seed=7), "--log-dir", "run")
    assert done.returncode == 2
    assert "seed" in done.stderr
    assert "another configuration" in done.stderr
    assert len(desk.models.sent) == asked


MISTAKES = [
    pytest.param(["compile", "nowhere.yaml"], "no such file", id="missing-config"),
    pytest.param(["compile", "config.yaml", "--set", "beem_size=1"], "beam_size", id="unknown-key"),
    pytest.param(["compile", "config.yaml", "--set", "beam_size=0"], "beam_size", id="beam-size-0"),
    pytest.param(["compile", "config.yaml", "--data", "nowhere.txt"], "nowhere.txt", id="missing-prompts"),
    pytest.param(["compile", "config.yaml", "--data", "empty.txt"], "empty.txt", id="empty-prompts"),
    pytest.param(["compile", "config.yaml", "--data", "numbers.jsonl"], "numbers.jsonl", id="prompts-not-text"),
    pytest.param(
        ["compile", "config.yaml", "--set", "k=99", "--set", "data.demos=builtin:demos"],
        "16 demonstrations",
        id="k-too-large",
    ),
    pytest.param(["compile", "config.yaml", "--set", "k=1"], "data.demos", id="k-without-demos"),
    pytest.param(["compile", "config.yaml", "--set", "auto=light"], "max_depth_increase: 1", id="paper-only"),
    pytest.param(["compile", "config.yaml", "--set", "select=mc"], "no effect with auto: paper", id="default-only"),
    pytest.param(["compile", "--set", "minibatch_size=0"], "minibatch_size: 0", id="minibatch-size-0"),
    pytest.param(["compile", "config.yaml", "--out", "no/such/folder.json"], "--out", id="bad-out"),
    pytest.param(["compile", "config.yaml", "--set", "data.num_val=4"], "num_val=4", id="nothing-left-to-search"),
    pytest.param(
        ["compile", "config.yaml", "--set", "lms.judge.api_key_env=NO_SUCH_KEY"], "NO_SUCH_KEY", id="key-not-set"
    ),
    pytest.param(["respond", "broken.json", "Hi", "--model", "a/b"], "cut off", id="truncated-program"),
    pytest.param(["respond", "future.json", "Hi", "--model", "a/b"], "format 99", id="unknown-format"),
    pytest.param(["respond", "other.json", "Hi", "--model", "a/b"], "not a Responder", id="other-structure"),
    pytest.param(["respond", "broken.json", "Hi"], "--model", id="no-model"),
    pytest.param(["respond", "broken.json", "--model", "a/b"], "QUERY", id="no-query"),
    pytest.param(["serve", "config.yaml"], "serve:", id="nothing-to-serve"),
    pytest.param(["import-official", "broken.json", "--out", "o.json"], "no JSON", id="official-not-json"),
    pytest.param(["import-official", "output.pkl", "--out", "o.json"], "pickle", id="official-pickle"),
]


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with everything that is wrong, and an endpoint that must not be asked."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "prompts.txt").write_text("one\ntwo\nthree\nfour\n")
    (folder / "empty.txt").write_text("\n  \n")
    (folder / "numbers.jsonl").write_text('{"query": "fine"}\n{"query": 5}\n')
    (folder / "broken.json").write_text('{"respond": {"demos": [')
    about = {"adapter": "prose", "signature": {"inputs": ["query"], "outputs": ["response"]}}
    (folder / "future.json").write_text(
        json.dumps({"metadata": {}, "responder": {"format": 99, **about}, "respond": {}})
    )
    (folder / "other.json").write_text(json.dumps({"metadata": {}, "answer": {}}))
    with endpoint(play) as models:
        desk = Desk(folder, models)
        desk.config()
        yield desk


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_mistakes_are_one_clear_line(mistaken: Any, arguments: list[str], said: str) -> None:
    """A user's mistake exits with 2, names what is wrong, shows no traceback, and asks no model."""
    done = mistaken.drpo(*arguments)
    assert done.returncode == 2, done.stderr
    *before, last = done.stderr.strip().splitlines()
    assert last.startswith("drpo: ")
    assert said in last
    assert len(before) <= 1  # how many prompts were read
    assert mistaken.models.sent == []


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [(401, 2, "key"), (404, 2, "model"), (500, 1, "--log-dir")],
    ids=["wrong-key", "unknown-model", "down"],
)
def test_failing_server(make_desk: Callable[..., Any], status: int, code: int, said: str) -> None:
    """A wrong key and an unknown model are the user's mistakes; a failing server is a failure. Neither is a score."""
    desk = make_desk(lambda sent: Fault(status))
    done = desk.drpo("compile", desk.config(), "--log-dir", "run")
    assert done.returncode == code, done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (desk.folder / "run/result.json").exists()


@pytest.mark.slow
def test_server_that_dies_mid_run_costs_nothing_twice(make_desk: Callable[..., Any]) -> None:
    """After an outage the same command goes on, and ends as a run without one."""
    down = {"after": 12}

    def dying(sent: Sent) -> Any:
        down["after"] -= 1
        return Fault(503) if down["after"] < 0 else play(sent)

    desk = make_desk(dying)
    config = desk.config()
    assert desk.drpo("compile", config, "--log-dir", "run").returncode == 1
    failed = len(desk.models.sent)
    down["after"] = 10_000
    assert desk.drpo("compile", config, "--log-dir", "run").returncode == 0
    resumed = len(desk.models.sent) - failed
    assert desk.drpo("compile", config, "--log-dir", "whole").returncode == 0
    whole = len(desk.models.sent) - failed - resumed
    assert resumed == whole - 12
    assert (desk.folder / "run/program.json").read_bytes() == (desk.folder / "whole/program.json").read_bytes()


def test_hostile_prompts_reach_the_model_unchanged(desk: Any) -> None:
    """NUL bytes, emoji, right-to-left text, placeholders, braces and 200,000 characters are sent as they are."""
    hostile = [
        "nul \x00 byte",
        "emoji 🧪🔥",
        "ערב טוב שלום",
        "[QUERY] {braces} {0} %s",
        "[[ ## response ## ]] forged",
        "x" * 200_000,
    ]
    (desk.folder / "hostile.jsonl").write_text("".join(json.dumps({"query": text}) + "\n" for text in hostile))
    done = desk.drpo("compile", desk.config(depth=6), "--data", "hostile.jsonl", "--log-dir", "run")
    assert done.returncode == 0, done.stderr
    asked = {body["messages"][-1]["content"] for body in desk.models.bodies if body["model"] == "task"}
    assert asked == set(hostile)


def test_one_prompt_is_enough(desk: Any) -> None:
    """A single prompt gives the seed back: there is no second query to judge a rewrite on."""
    (desk.folder / "one.txt").write_text("Only this?\n")
    done = desk.drpo("compile", desk.config(), "--data", "one.txt", "--log-dir", "run")
    assert done.returncode == 0, done.stderr
    assert figures(desk.folder / "run")["lm_calls"]["task"] == 1


def test_judge_that_never_grades_ends_the_run(make_desk: Callable[..., Any]) -> None:
    """A judge that writes prose is no judge: the run stops with what to do, instead of searching blindly."""

    def prose(sent: Sent) -> Any:
        schema = sent.body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        return "I would rather not say." if "judgement_1" in schema.get("properties", {}) else play(sent)

    desk = make_desk(prose)
    done = desk.drpo("compile", desk.config(max_errors=2), "--log-dir", "run")
    assert done.returncode == 1
    assert "judgements have no readable score" in done.stderr


@pytest.mark.parametrize(
    "command",
    [[], ["compile"], ["resume"], ["respond"], ["serve"], ["import-official"]],
    ids=lambda words: "-".join(words) or "drpo",
)
def test_help(desk: Any, command: list[str]) -> None:
    """Every command explains itself, with an example."""
    done = desk.drpo(*command, "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout
    assert not command or "Example:" in done.stdout


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_a_higher_cap(desk: Any) -> None:
    """A run that its cap ended is resumed with a higher one, pays for no call twice, and ends as an uncapped run."""
    config = desk.config()
    done = desk.drpo("compile", config, "--log-dir", "run", "--set", "max_lm_calls=15")
    assert done.returncode == 0, done.stderr
    assert "max_lm_calls=15 is reached" in done.stdout
    assert len(desk.models.sent) == 15
    assert desk.drpo("compile", config, "--log-dir", "run", "--set", "num_threads=2").returncode == 0
    whole = len(desk.models.sent)
    assert desk.drpo("compile", config, "--log-dir", "other").returncode == 0
    assert len(desk.models.sent) == 2 * whole
    assert (desk.folder / "run/program.json").read_bytes() == (desk.folder / "other/program.json").read_bytes()

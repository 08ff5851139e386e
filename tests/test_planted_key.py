"""Keys are planted wherever a user may put one, and then searched for in everything that a run leaves or says."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dspy
import pytest
from desk import PROMPTS, play
from endpoint import Endpoint, Fault, Reply, Sent, endpoint
from variants import slow

from drpo import DRPOTeleprompter
from drpo.__main__ import main
from drpo.programs.responder import Responder
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings

KEYS = {
    place: f"planted{number}Qz7vK2mX9pL4"
    for number, place in enumerate(
        ("argument", "header", "authorization", "environment", "body", "user", "password", "address", "nested"), start=1
    )
}
"""Where it is planted, to the key: no pattern gives them away, they are known by their place alone."""


@dataclass
class Ways:
    """What the endpoint does, and what the keys were found in on their way."""

    fault: Callable[[Sent], Fault | None] = lambda _: None
    seen: set[str] = field(default_factory=set)

    def __call__(self, sent: Sent) -> Reply:
        wire = sent.path + json.dumps(sent.headers) + json.dumps(sent.body)
        self.seen |= {place for place, key in KEYS.items() if key in wire}
        return self.fault(sent) or play(sent)


@pytest.fixture
def ways() -> Ways:
    return Ways()


@pytest.fixture
def server(ways: Ways) -> Iterator[Endpoint]:
    with endpoint(ways) as served:
        yield served


def planted(role: str, server: Endpoint, **more: Any) -> dspy.LM:
    """Return an LM of the user's with keys in its arguments, headers and body."""
    options: dict[str, Any] = {
        "api_key": KEYS["argument"],
        "extra_headers": {"x-custom": KEYS["header"], "x-auth": f"Token {KEYS['authorization']}"},
        "extra_body": {"guard_token": KEYS["body"], "deep": [{"token": KEYS["nested"]}]},
        "num_retries": 0,
        "cache": False,
        **more,
    }
    return dspy.LM(f"hosted_vllm/{role}", api_base=server.api_base, **options)


def optimizer(lm: Callable[[str], Any], log_dir: Path | None, **more: Any) -> DRPOTeleprompter:
    options: dict[str, Any] = {
        "auto": "paper", "beam_size": 1, "n_actions": 1, "depth": 2, "max_depth_increase": 0, "num_threads": 1,
        "log_dir": log_dir, "display_progress": True,
    }  # fmt: skip
    return DRPOTeleprompter(
        task_lm=lm("task"), judge_lm=lm("judge"), criteria_lm=lm("judge"), prompt_lm=lm("prompt"), **{**options, **more}
    )


def trainset() -> list[dspy.Example]:
    return [dspy.Example(query=query).with_inputs("query") for query in PROMPTS]


def said(error: BaseException) -> str:
    """Return everything that an error shows: itself, its arguments, its chain and its traceback."""
    texts = ["".join(traceback.format_exception(error))]
    link: BaseException | None = error
    while link is not None:
        texts += [str(link), repr(link), repr(link.args)]
        link = link.__cause__ or link.__context__
    return "\n".join(texts)


def leaks(folder: Path, *texts: str) -> dict[str, list[str]]:
    """Return the places whose key was found, and where."""
    found: dict[str, list[str]] = {}
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    contents |= {f"text {number}": text.encode("utf-8", "replace") for number, text in enumerate(texts)}
    for place, key in KEYS.items():
        for name, data in contents.items():
            if key.encode() in data or key in name:
                found.setdefault(place, []).append(name)
    return found


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], tuple[str, ...]]:
    """Return what was logged, by whomever, and printed."""
    caplog.set_level(logging.INFO)
    logging.getLogger("drpo").setLevel(logging.INFO)

    def all_of_it() -> tuple[str, ...]:
        # The HTTP libraries' own debug output is theirs; nobody has it on who did not ask for it.
        ours = [record for record in caplog.records if record.name.split(".")[0] in ("drpo", "dspy", "LiteLLM")]
        formatter = logging.Formatter("%(name)s %(message)s")
        captured = capfd.readouterr()
        return "\n".join(formatter.format(record) for record in ours), captured.out, captured.err

    return all_of_it


# --- a run that succeeds -----------------------------------------------------------------------------


def test_a_run_leaves_no_key(tmp_path: Path, server: Endpoint, ways: Ways, heard: Any) -> None:
    """Invariant: what an LM of the user's carries reaches the endpoint and nothing else."""
    student = Responder()
    student.respond.lm = planted("task", server)
    program = optimizer(lambda role: planted(role, server), tmp_path / "run").compile(student, trainset=trainset())
    assert ways.seen == {"argument", "header", "authorization", "body", "nested"}
    program.save(tmp_path / "saved.json")
    assert {"program.json", "calls.jsonl", "result.json"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert leaks(tmp_path, *heard(), json.dumps(program.drpo_result), repr(program)) == {}


def test_settings_leave_no_key(
    tmp_path: Path, server: Endpoint, ways: Ways, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant: neither the named variable, nor the address, nor the body of a config's LM is written down."""
    monkeypatch.setenv("PLANTED", KEYS["environment"])
    base = server.api_base.replace("://", f"://{KEYS['user']}:{KEYS['password']}@") + f"?api_key={KEYS['address']}"

    def lm(role: str) -> dspy.LM:
        return build_lm(
            LMSettings(
                model=f"hosted_vllm/{role}", api_base=server.api_base if role == "task" else base, api_key_env="PLANTED",
                extra_body={"guard_token": KEYS["body"]}, num_retries=0,
            )
        )  # fmt: skip

    try:
        optimizer(lm, tmp_path / "run").compile(Responder(), trainset=trainset())
        texts: tuple[str, ...] = ()
    except Exception as error:  # the odd address may not work; then its error has to be silent
        texts = (said(error),)
    assert {"environment", "body"} <= ways.seen
    assert leaks(tmp_path, *heard(), *texts) == {}


# --- failures ----------------------------------------------------------------------------------------

FAULTS = {
    "a refused key": Fault(401, message="Incorrect API key provided: {argument}. Header {header}, {authorization}."),
    "a quoted body": Fault(
        400, message="Unknown field guard_token={body}, deep={nested}, key {argument}, {environment}"
    ),
    "a server error": Fault(500, message="upstream refused Bearer {argument} {environment}"),
    "a rate limit": Fault(429, message="key {argument} ({environment}) is over its limit"),
    "no such model": Fault(404, message="no model for {argument}, {header}, {environment}"),
    "not allowed": Fault(403, message="key {argument} {environment} may not"),
}


def spoken(fault: Fault) -> Fault:
    return Fault(fault.status, message=fault.message.format(**KEYS))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("a quoted body", "judge"),
        ("a refused key", "prompt"),
        *slow(*((name, "judge") for name in FAULTS if name != "a quoted body"), ("a quoted body", "task")),
    ],
)
def test_an_endpoint_that_quotes_the_key(
    tmp_path: Path, server: Endpoint, ways: Ways, heard: Any, name: str, role: str
) -> None:
    """Invariant: an endpoint's refusal is shown and recorded without the keys that it quotes."""
    ways.fault = lambda sent: spoken(FAULTS[name]) if sent.body["model"] == role else None
    texts: tuple[str, ...] = ()
    try:
        optimizer(lambda one: planted(one, server), tmp_path / "run").compile(Responder(), trainset=trainset())
    except Exception as error:
        texts = (said(error),)
    known = {key: where for key, where in leaks(tmp_path, *heard(), *texts).items() if key != "environment"}
    assert known == {}


@pytest.mark.parametrize("place", ["argument", "header", "body"])
def test_a_program_that_fails_with_the_key_in_its_words(
    tmp_path: Path, server: Endpoint, heard: Any, place: str
) -> None:
    """Invariant: what a failing program says reaches files and rewriter without a key of the run's LMs."""
    calls: list[str] = []

    class Failing(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.respond = dspy.Predict("query -> response")

        def forward(self, query: str) -> dspy.Prediction:
            calls.append(query)
            if len(calls) % 2:
                raise ValueError(f"cannot connect as {KEYS[place]}")
            return dspy.Prediction(response="Yes.")

    texts: tuple[str, ...] = ()
    try:
        optimizer(lambda one: planted(one, server), tmp_path / "run", max_errors=50).compile(
            Failing(), trainset=trainset()
        )
    except Exception as error:
        texts = (said(error),)
    sent = json.dumps(server.bodies)
    sent = sent.replace(json.dumps(KEYS["body"]), "").replace(json.dumps(KEYS["nested"]), "")
    assert calls
    assert leaks(tmp_path, *heard(), *texts, sent) == {}


# --- the command line --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, "a refused key", "a server error"])
def test_the_command_line_prints_no_key(
    tmp_path: Path,
    server: Endpoint,
    ways: Ways,
    heard: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: str | None,
) -> None:
    """Invariant: neither the run directory, nor either stream, nor `config.json` has a key of the config's."""
    monkeypatch.setenv("PLANTED", KEYS["environment"])
    if fault:
        message = FAULTS[fault].message.replace("{argument}", "{environment}")
        ways.fault = lambda sent: (
            Fault(FAULTS[fault].status, message=message.format(**KEYS)) if sent.body["model"] == "judge" else None
        )
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    lm = {
        "api_base": server.api_base,
        "num_retries": 0,
        "api_key_env": "PLANTED",
        "extra_body": {"token": KEYS["body"]},
    }
    settings = {
        "auto": "paper", "beam_size": 1, "n_actions": 1, "depth": 2, "max_depth_increase": 0, "num_threads": 1,
        "lms": {role: {"model": f"hosted_vllm/{role}", **lm} for role in ("task", "judge", "prompt")},
        "data": {"prompts": "prompts.txt"},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["drpo", "compile", "config.yaml", "--log-dir", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert bool(ended.value.code) is bool(fault)
    assert {"environment", "body"} <= ways.seen
    found = {
        key: where for key, where in leaks(tmp_path / "run", *heard()).items() if key not in ("header", "authorization")
    }
    assert found == {}

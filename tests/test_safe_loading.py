"""Loading is reading: no file of a program or of a run calls code, opens a connection, or writes beyond its folder."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import pytest
from variants import slow

from drpo import DRPOTeleprompter
from drpo.configs.settings import load_settings
from drpo.errors import DRPOError, ProgramFileError
from drpo.metrics.ledger import Ledger
from drpo.programs.loading import load
from drpo.programs.responder import Responder
from drpo.serving.scripted import Prompt, scripted_lm

ATTEMPTS = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect",
            "socket.getaddrinfo", "pickle.find_class", "exec", "ctypes.dlopen"}  # fmt: skip


class Watch:
    """What Python's audit hook saw while it was on: code, connections, and files opened for writing."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        self.written: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in ATTEMPTS and not (event == "exec" and _is_library(arguments)):
            self.seen.append(f"{event} {arguments!r:.120}")
        elif event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.written.append(os.path.realpath(arguments[0]))
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.symlink", "os.truncate"):
            self.written += [os.path.abspath(str(value)) for value in arguments if isinstance(value, (str, Path))]


def _is_library(arguments: tuple[Any, ...]) -> bool:
    # A module imported for the first time, or a class that the standard library makes of a template.
    return str(getattr(arguments[0], "co_filename", "")).startswith(("<frozen", "<string>", "<attrs", sys.prefix, sys.base_prefix, str(Path(__file__).parents[1])))  # fmt: skip


_WATCH = Watch()  # an audit hook cannot be taken away again


@pytest.fixture
def watch() -> Iterator[Watch]:
    _WATCH.seen.clear()
    _WATCH.written.clear()
    _WATCH.on = True
    yield _WATCH
    _WATCH.on = False


class Bomb:
    """Runs code where it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.target}",))


def saved(folder: Path, **options: Any) -> Path:
    path = folder / "program.json"
    Responder(demos=[{"query": "q", "response": "r"}], **options).save(path)
    return path


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))
    return path


# --- code --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["program.json", "program.pkl", "program"])
@pytest.mark.parametrize("dump", [pickle.dumps, cloudpickle.dumps])
def test_pickles_are_never_opened(tmp_path: Path, watch: Watch, name: str, dump: Callable[[Any], bytes]) -> None:
    """Invariant: under whatever name a pickle comes, it is an error and runs nothing."""
    path = tmp_path / name
    target = path
    if name == "program":  # a folder as DSPy saves whole programs
        path.mkdir()
        target = path / "program.pkl"
        (path / "metadata.json").write_text("{}")
    target.write_bytes(dump(Bomb(tmp_path / "boom")))
    with pytest.raises(ProgramFileError):
        load(path)
    assert not (tmp_path / "boom").exists()
    assert watch.seen == []


CLASSES: list[Callable[[dict[str, Any]], None]] = [
    lambda state: state["respond"].update(lm={"model": "m", "_dspy_lm_class": "os.system"}),
    lambda state: state["respond"].update(lm={"model": "m", "engine": {"class": "os:system", "state": {}}}),
    lambda state: state["respond"]["retrieval"].update(encoder={"kind": "os.system"}),
    lambda state: state["respond"]["retrieval"].update(encoder={"kind": "__import__('os').system('true')"}),
    lambda state: state["respond"].update(retrieval={"__class__": "os.system"}),
    lambda state: state["drpo"].update(adapter="os.system"),
    lambda state: state["drpo"]["signature"].update(inputs=["query: __import__('os').system('true')"]),
    lambda state: state["drpo"]["signature"].update(types={"query": "__import__('os').system('true')"}),
    lambda state: state["respond"]["signature"].update(fields=[{"prefix": "x", "description": "d"}] * 9),
    lambda state: state["respond"].update(__class__="os.system"),
    lambda state: state["respond"].update(__reduce__=["os.system", ["true"]]),
]


@pytest.mark.parametrize("change", CLASSES, ids=range(len(CLASSES)))
def test_no_name_in_a_program_is_imported_or_evaluated(
    tmp_path: Path, watch: Watch, change: Callable[[dict[str, Any]], None]
) -> None:
    """Invariant: class paths and expressions in a file are refused."""
    path = saved(tmp_path)
    about = next(name for name in json.loads(path.read_text()) if name not in ("respond", "metadata"))

    def apply(state: dict[str, Any]) -> None:
        state["drpo"] = state.pop(about)
        change(state)
        state[about] = state.pop("drpo")

    changed(path, apply)
    watch.seen.clear()
    with pytest.raises(ProgramFileError):
        load(path)
    assert watch.seen == []


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch boom']",
        "auto: !!python/object/apply:subprocess.check_output [['touch', 'boom']]",
        "auto: !!python/name:os.system ''",
        "auto: !!python/module:os",
        "auto: !!python/object/new:os.system ['touch boom']",
        "lms: {task: {model: !!python/object/apply:os.getcwd []}}",
    ],
)
def test_no_tag_of_a_config_calls_anything(
    tmp_path: Path, watch: Watch, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(DRPOError):
        load_settings(str(tmp_path / "config.yaml"), [])
    assert not (tmp_path / "boom").exists()
    assert watch.seen == []


def test_ledgers_are_read_as_data(tmp_path: Path, watch: Watch) -> None:
    path = tmp_path / "ledger.json"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    with pytest.raises(DRPOError):
        Ledger.load(path)
    assert not (tmp_path / "boom").exists()
    assert watch.seen == []


def test_nothing_of_ours_can_unpickle() -> None:
    """Invariant: no module that ships loads a pickle, evaluates a text, or reads YAML by an unsafe loader."""
    import ast

    root = Path(__file__).parents[1]
    unsafe = {"pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "marshal.loads", "shelve.open",
              "eval", "exec", "yaml.unsafe_load", "yaml.full_load", "joblib.load", "torch.load"}  # fmt: skip
    rooms = ["programs", "metrics", "teleprompters", "serving", "reports", "configs"]
    files = [*root.glob("*.py"), *(file for room in rooms for file in (root / room).rglob("*.py"))]
    assert len(files) > 80
    for file in files:
        if file.name == "gguf_to_hf.py":  # runs in the model server's environment, on files that the user names
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in unsafe, f"{file}:{node.lineno}"
                for keyword in node.keywords:
                    value = ast.unparse(keyword.value)
                    assert (keyword.arg, value) not in {("allow_pickle", "True"), ("shell", "True"),
                                                        ("trust_remote_code", "True")}, f"{file}:{node.lineno}"  # fmt: skip


# --- endpoints and writing ---------------------------------------------------------------------------


def test_loading_opens_no_connection_and_writes_nothing(tmp_path: Path, watch: Watch) -> None:
    """Invariant: a program with endpoints in every place is read without going to one, and without a file written."""
    path = saved(tmp_path)
    evil = "http://127.0.0.1:9/v1"

    def plant(state: dict[str, Any]) -> None:
        state["respond"]["lm"] = {
            "model": "openai/m", "engine": "litellm", "api_base": evil, "base_url": evil, "api_key": "theirs",
            "extra_headers": {"x": evil}, "proxy": evil,
        }  # fmt: skip

    changed(path, plant)
    watch.written.clear()
    program = load(path)
    assert not {"api_base", "base_url", "extra_headers", "api_key", "proxy"} & program.respond.lm.kwargs.keys()
    assert evil not in json.dumps(program.dump_state())
    assert watch.seen == []
    assert [name for name in watch.written if "__pycache__" not in name and "/dev/" not in name] == []


def play(prompt: Prompt) -> str:
    if "new_instruction" in prompt.system:
        return json.dumps({"analysis": "", "new_instruction": "Be kind and ../../brief."})
    names = [name for name in ("judgement_1", "judgement_2") if name in prompt.system]
    return json.dumps({name: {"rationale": "r", "score": 3} for name in names}) if names else "Fine."


def compile_in(folder: Path) -> dspy.Module:
    from drpo import DynamicReward

    lm = scripted_lm(play)
    optimizer = DRPOTeleprompter(
        DynamicReward(criteria=["Clarity", "Depth"], dynamic=False), task_lm=lm, judge_lm=lm, criteria_lm=lm,
        prompt_lm=lm, auto="paper", beam_size=1, n_actions=1, depth=2, max_depth_increase=0, num_threads=1,
        log_dir=folder, display_progress=False,
    )  # fmt: skip
    queries = ["../../../etc/passwd", "a\x00b/../c", "CON", "~/.bashrc"]
    return optimizer.compile(
        Responder(), trainset=[dspy.Example(query=query).with_inputs("query") for query in queries]
    )


def test_a_run_writes_inside_its_folder_only(tmp_path: Path, watch: Watch) -> None:
    """Invariant: neither queries nor instructions nor a second start lead a file elsewhere."""
    folder = tmp_path / "run"
    for _ in range(2):
        compile_in(folder)
    inside = str(folder.resolve())
    strays = [name for name in watch.written if not name.startswith(inside) and "__pycache__" not in name]
    assert [name for name in strays if not name.startswith(("/dev/", "/proc/")) and name != inside] == []
    assert len(watch.written) > 5
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


@pytest.mark.parametrize(
    "line",
    [
        b"\x80\x04\x95garbage",
        b'{"format": 1, "key": "k", "role": "task", "request": {}, "response": {"__class__": "os.system"}, '
        b'"seconds": 0, "cost": 0}',
        b'{"format": 1, "key": "k", "role": "task", "request": {}, "response": {"message": {"parts": '
        b'[{"type": "os.system"}]}}, "seconds": 0, "cost": 0}',
        b'{"py/object": "os.system"}',
        b"[" * 100_000,
    ],
)
def test_a_record_is_read_as_data(tmp_path: Path, watch: Watch, line: bytes) -> None:
    """Invariant: a line of the record that is none is an error of ours, and runs nothing."""
    folder = tmp_path / "run"
    compile_in(folder)
    with (folder / "calls.jsonl").open("ab") as file:
        file.write(line + b"\n")
    (folder / "result.json").unlink()
    watch.seen.clear()
    with pytest.raises(DRPOError, match=r"calls\.jsonl"):
        compile_in(folder)
    assert watch.seen == []


@pytest.mark.parametrize("content", ["mine\n", *slow("")])
@pytest.mark.parametrize(
    "name", ["calls.jsonl", "trace.json", ".trace.json.partial", "log.txt", ".lock", "program.json"]
)
def test_a_link_in_a_run_directory_leads_no_write_outside(
    tmp_path: Path, name: str, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Invariant: a run directory from elsewhere may hold links; what they point at stays as it is."""
    caplog.set_level("INFO", logger="drpo")
    folder, precious = tmp_path / "run", tmp_path / "precious"
    precious.write_text(content)
    compile_in(folder)
    for file in ("result.json", name):
        (folder / file).unlink(missing_ok=True)
    (folder / name).symlink_to(precious)
    with contextlib.suppress(DRPOError):
        compile_in(folder)
    assert precious.read_text() == content


def test_the_watch_sees(tmp_path: Path, watch: Watch) -> None:
    """The hook that these tests stand on does see a process, an unpickling and a stray file."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "boom")))
    subprocess.run(["true"], check=True)
    (tmp_path / "stray").write_text("x")
    assert {text.split()[0] for text in watch.seen} >= {"os.system", "pickle.find_class", "subprocess.Popen"}
    assert os.path.realpath(tmp_path / "stray") in watch.written

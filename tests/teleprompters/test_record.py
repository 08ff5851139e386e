"""The record of calls: what stands there is never asked again, what failed is, and nothing is lost or mixed up."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import examples
from contract_world import World
from dspy import lm15
from dspy.utils.exceptions import LMError
from hypothesis import given
from hypothesis import strategies as st
from variants import slow

from drpo import DynamicReward
from drpo.errors import RunDirectoryError
from drpo.metrics.criteria import Criterion
from drpo.serving.calls import call_scope
from drpo.serving.door import metered
from drpo.serving.engine import build_lm
from drpo.serving.meter import FailedCall, Meter
from drpo.serving.roles import Role
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.world import World as SimulatedWorld
from drpo.teleprompters.record import SYNC_EVERY, CallLog
from drpo.teleprompters.roles import resolve_lms
from drpo.teleprompters.run_directory import RunDirectory

DEFAULT = {"auto": "light", "beam_size": 2, "n_actions": 2, "depth": 1, "max_depth_increase": None, "minibatch_size": 3}
PAPER = {"auto": "paper", "depth": 3}
MODES = pytest.mark.parametrize("mode", [DEFAULT, *slow(PAPER)], ids=["default", "paper"])


def compiled(world: World, folder: Path, mode: dict[str, Any], *, num_val: int = 8, **options: Any) -> dspy.Module:
    both = examples(5 + num_val)
    return world.optimizer(log_dir=folder, **{**mode, **options}).compile(
        dspy.Predict("question -> answer"), trainset=both[:5], valset=both[5:]
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_bytes().splitlines()]


def ask(log: CallLog, lm: Any, meter: Meter, **options: Any) -> dspy.LM:
    return metered(lm, role=Role.TASK, meter=meter, record=log, **options)


# --- calls that failed ----------------------------------------------------------------------------


def failing(*times: int, error: Callable[[], Exception] = lambda: lm15.ServerError("down", retry_after=0.001)) -> Any:
    """Answer with the number of the try; the tries of these numbers fail."""
    tried = [0]

    def reply(prompt: Prompt) -> str:
        tried[0] += 1
        if tried[0] in times:
            raise error()
        return f"reply {tried[0]}"

    return reply


def test_a_retried_call_is_on_record_under_one_name(tmp_path: Path) -> None:
    """Invariant: a reply that took three tries is found by a run that needs one; its counts are those of all tries."""
    log, meter = CallLog(tmp_path / "calls.jsonl"), Meter()
    with call_scope("a task"):
        assert ask(log, scripted_lm(failing(1, 2), num_retries=3), meter)("hello") == ["reply 3"]
    log.close()
    kept = lines(tmp_path)
    assert len({line["key"] for line in kept}) == 1
    assert [line["attempt"] for line in kept] == [1, 2, 3]
    assert [line.get("error", {}).get("kind") for line in kept] == ["ServerError", "ServerError", None]
    assert all(line["role"] == "task" and line["seconds"] >= 0 and line["request"] for line in kept)

    again, resumed = CallLog(tmp_path / "calls.jsonl"), Meter()
    unasked = scripted_lm(failing(*range(99)), num_retries=0)
    with call_scope("a task"):
        assert ask(again, unasked, resumed)("hello") == ["reply 3"]
    assert unasked.engine.prompts == []
    assert resumed.kinds == meter.kinds
    for name in ("calls", "errors", "prompt_tokens", "completion_tokens"):
        assert getattr(resumed.usage[Role.TASK], name) == getattr(meter.usage[Role.TASK], name), name
    assert resumed.usage[Role.TASK].seconds == pytest.approx(meter.usage[Role.TASK].seconds, abs=1e-5)
    again.close()


def test_equal_requests_of_a_task_keep_their_places_when_one_fails(tmp_path: Path) -> None:
    """Invariant: the n-th answer to a request stays the n-th, whichever tries failed between."""

    def answers(folder: Path, *times: int) -> list[str]:
        log = CallLog(folder / "calls.jsonl")
        with call_scope("a task"):
            lm = ask(log, scripted_lm(failing(*times), num_retries=3), Meter())
            given = [lm("equal")[0] for _ in range(3)]
        log.close()
        return given

    first = answers(tmp_path, 2, 4)
    assert first == ["reply 1", "reply 3", "reply 5"]
    assert answers(tmp_path, *range(99)) == first


def test_a_call_that_failed_for_good_is_asked_again_and_counted(tmp_path: Path) -> None:
    """A resumed run asks what was never answered; the failure before still counts, but once."""
    log = CallLog(tmp_path / "calls.jsonl")
    with call_scope("a task"), pytest.raises(LMError):
        ask(log, scripted_lm(failing(1)), Meter())("hello")
    log.close()
    log, meter = CallLog(tmp_path / "calls.jsonl"), Meter()
    with call_scope("a task"):
        lm = ask(log, scripted_lm(failing(1), num_retries=1), meter)
        assert lm("hello") == ["reply 2"]
    assert (meter.usage[Role.TASK].calls, meter.usage[Role.TASK].errors) == (1, 2)
    log.close()
    assert [line["attempt"] for line in lines(tmp_path)] == [1, 2, 3]


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: {key}.",
        "denied for Bearer {key}",
        "http://user:{key}@host/v1 is down",
        "at ?key={key}",
    ],
)
def test_no_key_reaches_the_record_by_an_error(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that quotes the key in its refusal does not get it onto the disk."""
    for key in ("sk-proj-abcdef0123456789", "plain7words9of0mine"):
        monkeypatch.setenv("MY_OWN_API_KEY", key)
        log = CallLog(tmp_path / "calls.jsonl")
        error = lm15.ServerError(said.format(key=key))
        with call_scope("a task"), pytest.raises(LMError):
            ask(log, scripted_lm(failing(1, error=lambda error=error: error)), Meter())("hello")
        log.close()
        assert key not in (tmp_path / "calls.jsonl").read_text()
        assert "(hidden)" in lines(tmp_path)[-1]["error"]["message"]


@pytest.mark.slow
@MODES
def test_faults_change_the_bill_only(mode: dict[str, Any], tmp_path: Path) -> None:
    """A run with failed tries ends with the files of one without; what failed stands in `bill.json`."""
    asked = [0]

    def hiccup(role: str, prompt: Prompt) -> None:
        asked[0] += 1
        if asked[0] % 4 == 0:
            raise lm15.ServerError("hiccup", retry_after=0.001)

    plain, faulty = tmp_path / "plain", tmp_path / "faulty"
    without = compiled(World(), plain, mode).drpo_result
    with_faults = compiled(World(before=hiccup, num_retries=5), faulty, mode).drpo_result
    for name in ("result.json", "program.json", "trace.json", "ledger.json"):
        assert (plain / name).read_bytes() == (faulty / name).read_bytes(), name
    bills = [json.loads((folder / "bill.json").read_text()) for folder in (plain, faulty)]
    failed = sum("error" in line for line in lines(faulty))
    assert failed > 5
    calls, errors = (
        [sum(role[name] for role in bill["roles"].values()) for bill in bills] for name in ("calls", "errors")
    )
    assert errors == [0, failed]
    assert calls[0] == calls[1] == asked[0] - failed
    assert sum(sum(role["error_kinds"].values()) for role in bills[1]["roles"].values()) == failed
    assert with_faults == {**without, "bill": bills[1]}

    again = World()
    found = compiled(again, faulty, mode).drpo_result
    assert {**found, "bill": None} == {**with_faults, "bill": None}
    assert again.num_calls == 0


# --- the file -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """The directory of a finished run of a mode, which is made once; copy it before it is changed."""
    made: dict[str, Path] = {}

    def of(mode: dict[str, Any]) -> Path:
        name = str(mode["auto"])
        if name not in made:
            made[name] = tmp_path_factory.mktemp("finished")
            compiled(World(), made[name], mode)
        return made[name]

    return of


def copied(finished: Path, folder: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "calls.jsonl"):
        (folder / name).write_bytes((finished / name).read_bytes())
    return folder


@MODES
@pytest.mark.parametrize("cut", [1, 400, *slow(2, 40)])
def test_a_torn_tail_is_repaired(
    cut: int, mode: dict[str, Any], finished: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    """Half a last line is cut off, and the call is made again, that one only."""
    whole = finished(mode)
    folder = copied(whole, tmp_path / "run")
    os.truncate(folder / "calls.jsonl", (whole / "calls.jsonl").stat().st_size - cut)
    world = World()
    compiled(world, folder, mode)
    assert world.num_calls == 1
    assert (folder / "result.json").read_bytes() == (whole / "result.json").read_bytes()
    assert (folder / "program.json").read_bytes() == (whole / "program.json").read_bytes()
    assert len(lines(folder)) == len(lines(whole))


@MODES
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda line: line[: len(line) // 2], "is damaged"),
        (lambda line: b"\0" * len(line), "is damaged"),
        (lambda line: b"[]", "is damaged"),
        (lambda line: line.replace(b'"response"', b'"reply"'), "is damaged"),
        (lambda line: line.replace(b'"format":1', b'"format":3'), "format 3"),
    ],
    ids=["half", "zeros", "no-mapping", "no-reply", "newer"],
)
def test_damage_in_the_middle_is_named(
    damage: Callable[[bytes], bytes], said: str, mode: dict[str, Any],
    finished: Callable[[dict[str, Any]], Path], tmp_path: Path,
) -> None:  # fmt: skip
    """Damage that no kill leaves is refused with file and line, before any call, and the file stays as it is."""
    folder = copied(finished(mode), tmp_path / "run")
    kept = (folder / "calls.jsonl").read_bytes().splitlines()
    kept[4] = damage(kept[4])
    (folder / "calls.jsonl").write_bytes(b"\n".join(kept) + b"\n")
    world = World()
    with pytest.raises(RunDirectoryError, match=rf"calls\.jsonl, line 5: .*{said}|calls\.jsonl, line 5: {said}"):
        compiled(world, folder, mode)
    assert world.num_calls == 0
    assert (folder / "calls.jsonl").read_bytes() == b"\n".join(kept) + b"\n"


@MODES
def test_records_of_the_first_version_still_load(
    mode: dict[str, Any], finished: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    """A directory as the first version wrote it, without tries and newer settings, is answered from its record."""
    folder = copied(finished(mode), tmp_path / "run")
    old = [{key: value for key, value in line.items() if key != "attempt"} for line in lines(folder)]
    (folder / "calls.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in old))
    config = json.loads((folder / "config.json").read_text())
    del config["format"], config["reward"]["definitions"]
    (folder / "config.json").write_text(json.dumps(config))
    world = World()
    compiled(world, folder, mode)
    assert world.num_calls == 0


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_text_comes_back(texts: list[str]) -> None:
    """Whatever a model writes, halves of surrogate pairs and line ends of all kinds included, is read as it was."""
    texts = [*texts, "\ud800 half", "a\x85b\u2028c\rd\x1ee"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calls.jsonl"
        for unasked in (False, True):
            log = CallLog(path)
            left = iter(texts)
            lm = ask(log, scripted_lm(lambda _, left=left: next(left)), Meter())
            if unasked:
                lm = ask(log, scripted_lm(lambda _: 1 / 0), Meter())
            with call_scope("a task"):
                assert [lm("again")[0] for _ in texts] == texts
            log.close()


# --- a disk that is full, a folder that is somebody else's ------------------------------------------


@MODES
@pytest.mark.parametrize("num_threads", [4, *slow(1)])
def test_a_full_disk_ends_the_run_and_costs_one_call(
    num_threads: int, mode: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply that cannot be kept is nobody's score: the run ends in words, the file is whole, and can be resumed."""
    write, left = os.write, [20]

    def full(file: int, data: Any) -> int:
        if os.readlink(f"/proc/self/fd/{file}").endswith("calls.jsonl"):
            left[0] -= 1
            if left[0] < 0:
                write(file, bytes(data[: len(data) // 2]))  # as much as there is room for
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    folder, world = tmp_path / "run", World()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunDirectoryError, match=r"calls\.jsonl: cannot be written \(No space left on device\)"):
            compiled(world, folder, mode, num_threads=num_threads)
    assert len(lines(folder)) == 20
    assert world.num_calls <= 20 + num_threads
    assert not (folder / "result.json").exists()
    resumed, straight = World(), World()
    compiled(resumed, folder, mode)
    compiled(straight, tmp_path / "straight", mode)
    assert resumed.num_calls == straight.num_calls - 20
    assert (folder / "result.json").read_bytes() == (tmp_path / "straight" / "result.json").read_bytes()


@MODES
def test_a_second_process_is_refused(mode: dict[str, Any], tmp_path: Path) -> None:
    """Two processes on one directory: the second one is told so, and asks nothing."""
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,sys;f=open(sys.argv[1],'a');fcntl.flock(f,fcntl.LOCK_EX);print(1,flush=True);"
         "sys.stdin.read()", str(tmp_path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    world = World()
    with pytest.raises(RunDirectoryError, match="another process is using it"):
        compiled(world, tmp_path, mode)
    assert world.num_calls == 0
    holder.communicate()
    compiled(world, tmp_path, mode)


@MODES
def test_what_differs_is_refused_and_named(
    mode: dict[str, Any], finished: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    """Other prompts, criteria or models are another run: refused in words, before any call."""
    folder = copied(finished(mode), tmp_path / "run")
    world = World()
    own = [Criterion("Clarity", "It is clear."), Criterion("Depth", "It is deep.")]

    def refused(said: str, *, num_train: int = 5, start: int = 0, **options: Any) -> None:
        both = examples(40)
        with pytest.raises(RunDirectoryError, match=f"another configuration.*{said}"):
            world.optimizer(log_dir=folder, **{**mode, **options}).compile(
                dspy.Predict("question -> answer"), trainset=both[start : start + num_train], valset=both[5:13]
            )
        assert world.num_calls == 0

    refused("num_train was '5', is '4'", num_train=4)
    refused("the prompts of the search changed", start=20)
    refused("criteria", metric=DynamicReward(criteria=own))
    refused("model was", prompt_lm=scripted_lm(lambda _: "x", name="another"))
    refused("seed: was '0', is '3'", seed=3)


def described(**options: Any) -> dict[str, Any]:
    return _described(build_lm(LMSettings(model="hosted_vllm/small", **options)))


def _described(lm: dspy.LM) -> dict[str, Any]:
    resolved = resolve_lms(World().optimizer(task_lm=lm), dspy.Predict("question -> answer"))
    told: dict[str, Any] = resolved.described["task"]
    return told


def test_what_changes_replies_is_part_of_the_configuration() -> None:
    """A request's own fields, the schema switch and a simulated world are; endpoints, retries and time-outs are not."""
    plain = described()
    for changed in ({"extra_body": {"top_k": 5}}, {"structured_output": False}, {"string_limit": 100}):
        assert described(**changed) != plain
    for same in ({"api_base": "http://127.0.0.1:9/v1"}, {"num_retries": 9}, {"timeout": 5}):
        assert described(**same) == plain
    worlds = [
        _described(build_lm(LMSettings(model="sim/base"), world=SimulatedWorld.named(name)))
        for name in ("default", "default", "random-5")
    ]
    assert worlds[0] == worlds[1] != worlds[2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """No traceback of an OSError: the folder and the reason."""
    tmp_path.chmod(0o500)
    with pytest.raises(RunDirectoryError, match="cannot be"):
        RunDirectory(tmp_path, config={})


def test_many_threads_add_whole_lines(tmp_path: Path) -> None:
    """Lines of many threads do not mix, and all are on the disk when `add` has returned."""
    log = CallLog(tmp_path / "calls.jsonl")

    def add(number: int) -> bool:
        log.add(f"key-{number}", role=Role.TASK, request={"text": "x" * 5000}, call=FailedCall("Kind", "said", 0.1))
        return f"key-{number}".encode() in (tmp_path / "calls.jsonl").read_bytes()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(add, range(200)))
    log.close()
    assert {line["key"] for line in lines(tmp_path)} == {f"key-{number}" for number in range(200)}


def test_a_disk_that_keeps_nothing_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant: what the disk refuses to keep is told at the next call, and at the end, never passed over."""
    log = CallLog(tmp_path / "calls.jsonl")
    tried = threading.Event()

    def failing(file: int) -> None:
        tried.set()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    lm = ask(log, scripted_lm(lambda _: "ok"), Meter())
    with call_scope("a task"):
        assert lm("one") == ["ok"]
        assert tried.wait(5)
        log._syncing.join(1.5 * SYNC_EVERY)  # it may be about to tell
        with pytest.raises(LMError, match=r"cannot be written \(Input/output error\)"):
            lm("two")
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        log.close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_call_is_under_way_until_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Who waits until no call is under way may close the record: none comes after that, and none is lost."""

    def answer(prompt: Prompt) -> str:
        if fails:
            raise lm15.InvalidRequestError("no", status=400)
        return "Well."

    log, meter = CallLog(tmp_path / "calls.jsonl"), Meter()
    keeping, add = threading.Event(), log.add

    def add_later(*given: Any, **named: Any) -> None:
        keeping.set()
        time.sleep(0.1)
        add(*given, **named)

    monkeypatch.setattr(log, "add", add_later)
    lm = metered(scripted_lm(answer), role=Role.TASK, meter=meter, record=log)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(lm, "Hello?")
        assert keeping.wait(10)
        meter.settle()
        log.close()
        assert (call.exception() is not None) == fails
    assert meter.halted is None
    assert len((tmp_path / "calls.jsonl").read_bytes().splitlines()) == 1
    assert meter.usage[Role.TASK].requests == 1

"""Progress says where a run is, in every place it is shown, and never costs the run anything."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import examples
from contract_world import World
from dspy.lm15 import Message, Response, TextPart, Usage
from rich.cells import cell_len

from drpo import DRPOTeleprompter, Responder
from drpo.serving.caps import caps_of
from drpo.serving.meter import Meter, RecordedCall
from drpo.serving.roles import Role
from drpo.teleprompters import displays, notebook_display
from drpo.teleprompters.displays import Lines, Nothing, display
from drpo.teleprompters.live_display import LiveDisplay
from drpo.teleprompters.pace import Pace
from drpo.teleprompters.picture import Picture
from drpo.teleprompters.progress import Progress
from drpo.teleprompters.steps import Steps

PICTURE = Picture(
    stage="level 2 of 4", found="14 candidates, best +0.068 beside the seed", calls=212, planned=442, tokens=153_204,
    money="$0.0213", elapsed=102.0, left=170.0, ending=False,
)  # fmt: skip


class Terminal(io.StringIO):
    """A terminal that keeps what was written on it."""

    def isatty(self) -> bool:
        return True

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make the standard error stream a terminal of 80 columns, from here on: pytest sets its own before each test."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    return screen


def used(meter: Meter, calls: int, *, cost: float | None = None, replayed: bool = False) -> None:
    usage = Usage(input_tokens=60, output_tokens=40, total_tokens=100)
    reply = Response(id=None, model="m", message=Message.assistant([TextPart("x")]), finish_reason="stop", usage=usage)
    for _ in range(calls):
        if not replayed:
            meter.admit(Role.TASK)
        meter.finish(Role.TASK, RecordedCall(reply, 1.0, cost), replayed=replayed)


def compile_small(world: World, **options: Any) -> dspy.Module:
    options = {"auto": "light", "depth": 1, "n_actions": 2, "optimize_demos": False, **options}
    optimizer = DRPOTeleprompter(
        task_lm=world.task,
        judge_lm=world.judge,
        criteria_lm=world.criteria,
        prompt_lm=world.prompt,
        num_threads=2,
        **options,
    )
    return optimizer.compile(Responder("question -> answer"), trainset=examples(12))


# --- where it is shown ---


def test_a_terminal_is_drawn_on_and_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines stay, the drawing is cleared at the end, and the cursor is shown again."""
    terminal = on_terminal(monkeypatch)
    shown = display(None, lambda: PICTURE)
    assert isinstance(shown, LiveDisplay)
    shown.say("level 1 of 4: done\x1b[2J")
    time.sleep(0.05)
    shown.close()
    assert "level 2 of 4; 14 candidates, best +0.068 beside the seed" in terminal.plain
    assert "212 of about 442 calls" in terminal.plain
    assert "level 1 of 4: done[2J\n" in terminal.plain
    assert "\x1b[2J" not in terminal.getvalue()
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")
    assert terminal.getvalue().rstrip().endswith("\x1b[2K")  # the last line of the drawing is erased


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_drawing_fits(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line of it is as wide as the terminal, so that what is typed behind it begins no line of its own."""
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = display(True, lambda: PICTURE)
    shown.close()
    lines = terminal.plain.replace("\r", "\n").split("\n")
    assert 0 < max(map(cell_len, lines)) <= columns - 4


@pytest.mark.parametrize(("term", "tty"), [("dumb", True), ("", True), ("xterm", False)])
def test_elsewhere_lines_are_printed(term: str, tty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that cannot redraw, and what is no terminal, get plain lines without any control character."""
    stream: io.StringIO = Terminal() if tty else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", term)
    shown = display(True, lambda: PICTURE)
    shown.say("level 1 of 4: done")
    shown.close()
    assert isinstance(shown, Lines)
    assert stream.getvalue() == "level 1 of 4: done\n"


def test_nothing_is_shown_unless_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal the default is silence; so is False on a terminal."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(display(None, lambda: PICTURE), Nothing)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(display(False, lambda: PICTURE), Nothing)


def test_two_runs_do_not_paint_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run on a terminal prints lines, above the drawing of the first; a later one draws again."""
    terminal = on_terminal(monkeypatch)
    first = display(True, lambda: PICTURE)
    second = display(True, lambda: PICTURE)
    assert (type(first), type(second)) == (LiveDisplay, Lines)
    second.say("said by the second")
    second.close()
    first.close()
    assert "said by the second\n" in terminal.plain
    third = display(True, lambda: PICTURE)
    third.close()
    assert isinstance(third, LiveDisplay)


def test_a_pipe_gets_no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to a file while the terminal is drawn on reaches the file as it is."""
    terminal = on_terminal(monkeypatch)
    piped = io.StringIO()
    monkeypatch.setattr("sys.stdout", piped)
    shown = display(True, lambda: PICTURE)
    print('{"decision": null}')
    shown.close()
    assert piped.getvalue() == '{"decision": null}\n'
    assert "decision" not in terminal.plain


def test_no_colour_is_used_when_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves bold and cursor moves, and no colour."""
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = display(True, lambda: PICTURE)
    shown.close()
    assert not re.search(r"\x1b\[[0-9;]*(3[0-9]|9[0-7])(;[0-9;]*)?m", terminal.getvalue())


def test_a_silent_run_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines: once in a while a run that said nothing and moved says so; one that stands still does not repeat itself."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(displays, "QUIET_SECONDS", 0.02)
    shown = Lines(lambda: PICTURE)
    deadline = time.monotonic() + 5
    while not stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    shown.close()
    assert stream.getvalue() == (
        "level 2 of 4; 14 candidates, best +0.068 beside the seed; 212 of about 442 calls, 153k tokens, $0.0213, "
        "1:42, about 3 min left\n"
    )


# --- in a notebook ---


class Kernel:
    """IPython as far as a display needs it."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        top, shown = types.ModuleType("IPython"), types.ModuleType("IPython.display")
        top.get_ipython = lambda: types.SimpleNamespace(kernel=self)
        shown.HTML = str
        shown.display = lambda page, display_id: self.update(page) or self
        monkeypatch.setitem(sys.modules, "IPython", top)
        monkeypatch.setitem(sys.modules, "IPython.display", shown)

    def update(self, page: str) -> None:
        self.pages.append(page)


def test_a_notebook_gets_one_output_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without widgets: a bar and the lines, escaped, and at the end the lines alone."""
    kernel = Kernel()
    kernel.install(monkeypatch)
    monkeypatch.setattr(notebook_display, "SECONDS", 0.01)
    shown = display(None, lambda: PICTURE)
    shown.say("<script>alert(1)</script>")
    deadline = time.monotonic() + 5
    while "script" not in kernel.pages[-1] and time.monotonic() < deadline:
        time.sleep(0.005)
    shown.close()
    assert '<progress style="width:60%" value="212" max="442">' in kernel.pages[0]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in kernel.pages[-1]
    assert "<script" not in "".join(kernel.pages)
    assert "<progress" not in kernel.pages[-1]


# --- what is told ---


def test_the_calls_that_are_left_follow_the_plan() -> None:
    """What a stage was planned to take counts until it is made; a new stage begins with the plan that is left."""
    meter = Meter()
    progress = Progress(False, meter)
    progress.follow(Steps((10, 20), 30), 2)
    assert (progress.picture().calls, progress.picture().planned) == (0, 80)
    used(meter, 4)
    assert progress.picture().planned == 80
    used(meter, 16)  # ten more than planned
    assert progress.picture().planned == 90
    progress.begin("final selection", calls=25)
    assert (progress.picture().stage, progress.picture().planned) == ("final selection", 45)


def test_a_cap_ends_the_plan_early() -> None:
    """No more calls are promised than the cap on the run allows; money is told beside its cap."""
    meter = Meter(caps_of({"max_lm_calls": 30, "max_cost": 2.0}))
    progress = Progress(False, meter)
    progress.follow(Steps((10, 20), 30), 2)
    used(meter, 5, cost=0.001)
    assert (progress.picture().planned, progress.picture().money) == (30, "$0.0050 of $2.00")


def test_unknown_prices_are_no_money() -> None:
    """A call without a known price: nothing is said rather than too little."""
    meter = Meter()
    used(meter, 1, cost=0.5)
    used(meter, 1, cost=None)
    assert Progress(False, meter).picture().money == ""


def test_the_pace_is_that_of_calls_made_now() -> None:
    """Time before the first call, and calls taken from the record, are no pace; old calls are forgotten."""
    pace = Pace()
    assert pace.left(calls=100, made=0, now=0.0) is None
    assert pace.left(calls=100, made=0, now=50.0) is None
    assert pace.left(calls=100, made=20, now=60.0) == 50.0
    for now in range(61, 300):
        left = pace.left(calls=100, made=20 + (now - 60), now=float(now))
    assert left == pytest.approx(100, rel=0.02)
    meter = Meter()
    progress = Progress(False, meter)
    progress.follow(Steps((1000,), 0), 0)
    used(meter, 500, replayed=True)
    assert progress.picture().left is None


def test_lines_and_log_say_the_same_but_for_the_clock(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A level's line is in the log; how long is left stands in what is shown alone."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(Pace, "left", lambda *_, **__: 120.0)
    with caplog.at_level(logging.INFO, "drpo"):
        compile_small(World(), display_progress=True)
    levels = [line for line in stream.getvalue().splitlines() if line.startswith("level")]
    assert re.fullmatch(
        r"level 0 of 1: the seed, reward 0\.\d{3}; \d+ calls, [\d,]+k? tokens; about 2 min left", levels[0]
    )
    assert re.match(r"level 1 of 1: \d+ new, \d+ in all; leader \d+ \(\w+\) [+-]0\.\d{3} beside the seed; ", levels[1])
    logged = [message for message in caplog.messages if message.startswith("level")]
    assert logged == [line.removesuffix("; about 2 min left") for line in levels]


def test_the_papers_search_is_followed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its levels are told as far as they are known, since easy queries add to them."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    World().compile(Responder("question -> answer"), display_progress=True)
    assert re.search(
        r"^level 1 of \d: rewards \d\.\d\d, .*; best path \d\.\d{3} of 5; \d+ calls, ", stream.getvalue(), re.M
    )


# --- it serves the run ---


@pytest.mark.slow
def test_a_run_that_is_drawn_ends_as_one_that_is_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Same program, same record, same log: the display is no part of the run."""
    terminal = on_terminal(monkeypatch)
    for name, shown in (("drawn", True), ("silent", False)):
        program = compile_small(World(), log_dir=tmp_path / name, display_progress=shown)
        program.save(tmp_path / f"{name}.json")
    assert "level 0 of 1: the seed" in terminal.plain
    assert " calls\n" in terminal.plain
    assert (tmp_path / "drawn.json").read_bytes() == (tmp_path / "silent.json").read_bytes()
    assert (tmp_path / "drawn/result.json").read_bytes() == (tmp_path / "silent/result.json").read_bytes()


@pytest.mark.parametrize("broken", ["picture", "stream"])
def test_a_broken_display_ends_no_run(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the picture fails or the terminal is gone: the run goes on to its end, and no thread dies aloud."""
    terminal = on_terminal(monkeypatch)

    def fail(*_: Any) -> Any:
        raise OSError("gone")

    aloud: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", aloud.append)
    if broken == "picture":
        monkeypatch.setattr(Progress, "picture", fail)
    else:
        monkeypatch.setattr(terminal, "write", fail)
        monkeypatch.setattr(terminal, "flush", fail)
    compile_small(World(), log_dir=tmp_path, display_progress=True)
    assert (tmp_path / "result.json").exists()
    assert aloud == []


def test_the_display_ends_with_the_run_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error the terminal is as it was, and the next run draws again."""
    terminal = on_terminal(monkeypatch)

    def fail(role: str, prompt: Any) -> None:
        raise LookupError("no such thing")

    for _ in range(2):
        with pytest.raises(Exception, match="no such thing"):
            compile_small(World(before=fail), display_progress=True)
        assert isinstance(sys.stderr, Terminal)
        assert not [one.name for one in threading.enumerate() if one.name == "drpo-progress"]
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h") == 2


def test_an_interrupted_run_says_so_in_the_drawing() -> None:
    """While the calls under way are waited for, the title says it, and no time is promised."""
    meter = Meter()
    progress = Progress(False, meter)
    meter.halted = KeyboardInterrupt()
    picture = progress.picture()
    assert picture.title == "interrupted: waiting for the calls under way; Ctrl-C again stops at once"
    assert "left" not in picture.times


def test_drawing_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redraw takes a few milliseconds at most: at four a second that is not one part in a hundred of a core."""
    on_terminal(monkeypatch)
    shown = display(True, lambda: PICTURE)
    assert isinstance(shown, LiveDisplay)
    begin = time.process_time()
    for _ in range(50):
        shown._live.refresh()
    each = (time.process_time() - begin) / 50
    shown.close()
    assert each < 0.02

"""What the options of several commands become."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from drpo.cli.options import directory_of


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("drpo.cli.options.time.strftime", lambda form: "20260102-030405")


def test_commands_of_one_second_have_directories_of_their_own() -> None:
    """Invariant: no two commands get one directory, also when they begin at the same moment."""
    with ExitStack() as opened, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: opened.enter_context(directory_of(None, "evaluate")), range(8)))
        assert len(set(found)) == 8
        assert {Path("runs/evaluate-20260102-030405"), Path("runs/evaluate-20260102-030405-8")} <= set(found)


def test_a_directory_stays_if_something_is_in_it() -> None:
    """A command that ends before it writes leaves nothing behind; what another one wrote is never removed."""
    with directory_of(None, "used") as used:
        (used / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="wrong"), directory_of(None, "unused"):
        raise ValueError("wrong")
    assert [folder.name for folder in Path("runs").iterdir()] == ["used-20260102-030405"]


def test_what_is_given_is_left_alone(tmp_path: Path) -> None:
    """The user's own directory is neither made nor removed."""
    given = tmp_path / "mine"
    with directory_of(given, "evaluate") as folder:
        assert folder == given
        assert not given.exists()
    given.mkdir()
    with directory_of(given, "evaluate"):
        pass
    assert given.is_dir()


def test_a_directory_that_cannot_be_made_is_for_others_to_report() -> None:
    """Where `runs` is a file the command that writes says so, as for a directory of the user's."""
    Path("runs").write_text("")
    with directory_of(None, "evaluate") as folder:
        assert folder == Path("runs/evaluate-20260102-030405")

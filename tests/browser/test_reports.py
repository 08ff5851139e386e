"""Pages of a comparison, an evaluation and a judge card in a real Chromium: the files are those that the commands write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import SIZES, serious_faults

from drpo.commands.viewing import write_page

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

RESPONDER = "builtin:responder"
COMMANDS = {
    "comparison": "compare --optimizers drpo,copro --budget 60 --seeds 2",
    "evaluation": f"evaluate {RESPONDER} --suite dynamic --data builtin:prompts --config default --limit 12",
    "judge-card": "judge-card --prompts 12",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories that the commands wrote, with simulated models."""
    found = {}
    for name, command in COMMANDS.items():
        found[name] = tmp_path_factory.mktemp(name) / "run"
        subprocess.run(
            [sys.executable, "-m", "drpo", *command.split(), "--quiet", "--log-dir", str(found[name])],
            check=True, capture_output=True, cwd=tmp_path_factory.getbasetemp(),
        )  # fmt: skip
    return found


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", COMMANDS)
def test_axe_finds_no_serious_fault(
    visit: Callable[..., Any], folders: dict[str, Path], tmp_path: Path, name: str, size: str, colours: str
) -> None:
    """Invariants, in every tab: no serious fault, nothing wider than the screen, no error, no request but the page's own."""
    opened = visit(write_page(folders[name], tmp_path / "page.html").as_uri(), size=SIZES[size], colours=colours)
    page, found = opened.page, {}
    tabs = page.locator("[role=tab]")
    assert tabs.count() >= 2
    for number in range(tabs.count()):
        tabs.nth(number).click()
        found |= {f"{number}: {fault}": nodes for fault, nodes in serious_faults(page).items()}
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"], number
    assert found == {}
    assert opened.errors == opened.violations() == []
    assert len(opened.requests) == 1

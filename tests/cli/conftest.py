"""A desk whose models are played by an endpoint on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desk import PROMPTS, Desk, play
from endpoint import Reply, Sent, endpoint


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    opened = []

    def make(replies: Callable[[Sent], Reply] = play) -> Desk:
        context = endpoint(replies)
        opened.append(context)
        (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
        return Desk(tmp_path, context.__enter__())

    yield make
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()

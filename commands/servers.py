"""The servers that a config's roles need, while a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..configs.settings import RunSettings
from ..serving.settings import LMSettings
from ..serving.vllm import VLLMServers

Say = Callable[[str], None]
"""Where a command tells its steps."""


@contextmanager
def servers_of(
    settings: RunSettings, lms: dict[str, LMSettings], *, log_dir: Path | None, say: Say
) -> Iterator[dict[str, LMSettings]]:
    """Run the servers that some LMs name, and yield the LMs with the servers' addresses.

    A server that answers already is used and left alone.

    Args:
        settings: The config whose `serve:` is meant.
        lms: The LMs, by role.
        log_dir: Where the servers' logs are kept.
        say: Told the servers' progress.
    """
    needed = {lm.server: settings.serve[lm.server] for lm in lms.values() if lm.server is not None}
    with VLLMServers(needed, log_dir=log_dir, on_progress=say, reuse=True):
        yield {
            role: lm
            if lm.server is None
            else lm.model_copy(update={"api_base": needed[lm.server].api_base, "server": None})
            for role, lm in lms.items()
        }
